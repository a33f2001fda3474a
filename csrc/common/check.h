// Errors about user input. The tag lets salt_ext/ops/operators.py recognise them and raise ValueError, because the
// Python type of a C++ exception differs between torch versions. Every message is "argument: found ..., expected ...".
#pragma once

#include <sstream>
#include <stdexcept>

namespace salt {

inline constexpr const char* kInputErrorTag = "[salt] ";

template <class... Parts>
[[noreturn]] void input_error(const Parts&... parts) {
  std::ostringstream message;
  message << kInputErrorTag;
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

}  // namespace salt

#define SALT_CHECK(condition, ...)      \
  do {                                  \
    if (!(condition)) [[unlikely]] {    \
      ::salt::input_error(__VA_ARGS__); \
    }                                   \
  } while (false)
