#include "model.h"

alignas(16) const unsigned char kModel[] = {
@bytes@
};
const std::size_t kModelSize = sizeof(kModel);
