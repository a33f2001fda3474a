# Compile and link options of every binary, as the interface target salt_flags.

# An option that the environment may set, else -D, else the default. Nothing is written to the cache, so that the next
# build in the same folder is free to differ.
macro(salt_option name default)
  if(DEFINED ENV{${name}})
    set(${name} "$ENV{${name}}")
  elseif(NOT DEFINED ${name})
    set(${name} "${default}")
  endif()
endmacro()

# Treat compiler warnings as errors.
salt_option(SALT_WERROR OFF)
# Sanitizers to compile in, as -fsanitize takes them: python_tests/sanitize.py.
salt_option(SALT_SANITIZE "")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# torch has loaded everything that the libraries need before they are loaded themselves.
set(CMAKE_SKIP_RPATH ON)
# Whatever the build type, kernels are compiled with -O3; never -ffast-math, which breaks NaN checks and determinism.
string(REPLACE "-O2" "-O3" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")

add_library(salt_flags INTERFACE)
target_include_directories(salt_flags INTERFACE "${PROJECT_SOURCE_DIR}/csrc")
target_compile_options(salt_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-psabi;-fno-math-errno>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${SALT_WERROR}>>:-Werror>)
target_link_options(salt_flags INTERFACE LINKER:--as-needed)
if(SALT_SANITIZE)
  # The standard library's own checks too: an index past a vector's end may still lie within its memory.
  target_compile_options(salt_flags INTERFACE -g -fsanitize=${SALT_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS)
  target_link_options(salt_flags INTERFACE -fsanitize=${SALT_SANITIZE})
endif()

# Hides everything but the salt_* functions, the standard library's templates included.
function(salt_exports target)
  set(map "${PROJECT_SOURCE_DIR}/csrc/cmake/exports.map")
  target_link_options(${target} PRIVATE "LINKER:--version-script=${map}")
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${map}")
endfunction()
