# cmake -DLIBRARY=... -DNM=... -DREADELF=... -P check_exports.cmake
# libmoe4j.so must export the C ABI alone and need nothing but glibc.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE symbols
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+\n" names "${symbols}")
list(LENGTH names count)
if(count EQUAL 0)
  message(FATAL_ERROR "${LIBRARY} exports nothing")
endif()
foreach(name IN LISTS names)
  string(STRIP "${name}" name)
  if(NOT name MATCHES "^moe4j_")
    message(SEND_ERROR "exported: ${name}, expected only moe4j_*")
  endif()
endforeach()

execute_process(COMMAND ${READELF} -d ${LIBRARY} OUTPUT_VARIABLE dynamic
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*" needed "${dynamic}")
foreach(entry IN LISTS needed)
  if(NOT entry MATCHES "\\[(libc|libm|libdl|libpthread|ld-linux-x86-64)\\.so\\.[0-9]+\\]")
    message(SEND_ERROR "needed: ${entry}, expected only libraries of glibc")
  endif()
endforeach()
