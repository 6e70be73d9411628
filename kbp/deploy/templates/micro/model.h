// The model, as a .tflite file in memory.
#ifndef MODEL_H_
#define MODEL_H_

#include <cstddef>

// Working memory, measured on a 64-bit processor; 32-bit ones need less.
constexpr std::size_t kArenaSize = @arena@;

extern const unsigned char kModel[];
extern const std::size_t kModelSize;

#endif  // MODEL_H_
