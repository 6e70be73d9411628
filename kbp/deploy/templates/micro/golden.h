// One input and its output, in the types of the model.
#ifndef GOLDEN_H_
#define GOLDEN_H_

#include <cstdint>

// @input_layout@
constexpr @input_type@ kInput[] = {
@input@
};
// @output_layout@
constexpr @output_type@ kOutput[] = {
@output@
};

#endif  // GOLDEN_H_
