# torch's headers and the one library to link, as the interface target salt_torch. torch's own CMake package is not
# used: it drags in the CUDA toolkit that torch was built with, and the stable ABI needs none of it.
set(SALT_TORCH_DIR "$ENV{SALT_TORCH_DIR}" CACHE PATH "Folder of the torch Python package to build against")
if(NOT SALT_TORCH_DIR)
  execute_process(COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/find_torch.py"
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set_property(CACHE SALT_TORCH_DIR PROPERTY VALUE "${found}")
endif()

set(version_header "${SALT_TORCH_DIR}/include/torch/headeronly/version.h")
if(NOT EXISTS "${version_header}" OR NOT EXISTS "${SALT_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "SALT_TORCH_DIR=${SALT_TORCH_DIR} is no folder of a torch package >= 2.11 "
    "(looked for include/torch/headeronly/version.h and lib/libtorch_cpu.so)")
endif()
file(STRINGS "${version_header}" line REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9]*([0-9]+)[^0-9]*([0-9]+)[^0-9]*([0-9]+).*" "\\1.\\2.\\3" SALT_TORCH_VERSION "${line}")
if(SALT_TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "salt-ext needs torch >= 2.11 to build; ${SALT_TORCH_DIR} holds ${SALT_TORCH_VERSION}")
endif()
message(STATUS "torch ${SALT_TORCH_VERSION}: ${SALT_TORCH_DIR}")

add_library(salt_torch INTERFACE)
target_include_directories(salt_torch SYSTEM INTERFACE "${SALT_TORCH_DIR}/include")
# Only what torch 2.11 offers: the binary then runs on every later torch.
target_compile_definitions(salt_torch INTERFACE TORCH_TARGET_VERSION=0x020B000000000000)
# libstdc++ comes first: torch's wheel exports some functions of its own, which another torch may not have.
target_link_libraries(salt_torch INTERFACE stdc++ "${SALT_TORCH_DIR}/lib/libtorch_cpu.so")
target_link_options(salt_torch INTERFACE LINKER:--no-undefined)
