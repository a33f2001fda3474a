# Fails when an object compiled for a wider instruction set defines a weak symbol (an inline function or a template):
# the linker keeps one copy of it for the whole library, and if that is the wide one, older CPUs die in portable code.
# Run with -DNM=<nm> -DOBJECTS=<files, separated by |>.
string(REPLACE "|" ";" OBJECTS "${OBJECTS}")
list(FILTER OBJECTS INCLUDE REGEX "_(avx2|avx512|avx512_vnni)\\.cpp\\.o$")
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" --defined-only -C "${object}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "[0-9a-f]+ [WVu] [^\n]+" weak "${symbols}")
  if(weak)
    message(FATAL_ERROR "${object} shares a symbol with code for other CPUs: ${weak}")
  endif()
endforeach()
