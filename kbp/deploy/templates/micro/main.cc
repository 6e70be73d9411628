// Runs the model once on TensorFlow Lite Micro, and compares what it gives with
// what it is known to give.

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "golden.h"
#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

alignas(16) uint8_t arena[kArenaSize];

// The operations of the model, and no others.
using Resolver = tflite::MicroMutableOpResolver<@count@>;

TfLiteStatus AddOperations(Resolver& resolver) {
@operations@
  return kTfLiteOk;
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  Resolver resolver;
  if (AddOperations(resolver) != kTfLiteOk) {
    std::printf("An operation could not be added.\n");
    return 1;
  }
  tflite::MicroInterpreter interpreter(tflite::GetModel(kModel), resolver,
                                       arena, kArenaSize);
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    std::printf("The arena of %u bytes is too small.\n",
                static_cast<unsigned>(kArenaSize));
    return 1;
  }
  TfLiteTensor* input = interpreter.input(0);
  TfLiteTensor* output = interpreter.output(0);
  if (input->bytes != sizeof(kInput) || output->bytes != sizeof(kOutput)) {
    std::printf("The golden arrays are of another model.\n");
    return 1;
  }
  std::memcpy(input->data.raw, kInput, sizeof(kInput));
  if (interpreter.Invoke() != kTfLiteOk) {
    std::printf("The model did not run.\n");
    return 1;
  }
  if (std::memcmp(output->data.raw, kOutput, sizeof(kOutput)) != 0) {
    std::printf("The output is not the known one.\n");
    return 1;
  }
  std::printf("The output is the known one.\n");
  return 0;
}
