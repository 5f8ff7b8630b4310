# `format-check` fails where clang-format would change a file of cpp/; `format` changes it.
find_program(MOE4J_CLANG_FORMAT NAMES clang-format)
if(MOE4J_CLANG_FORMAT)
  file(GLOB_RECURSE formatted_files CONFIGURE_DEPENDS cpp/*.h cpp/*.hpp cpp/*.cpp cpp/*.cu cpp/*.cuh)
  add_custom_target(format-check
    COMMAND ${MOE4J_CLANG_FORMAT} --dry-run -Werror ${formatted_files}
    COMMENT "Checking the format of cpp/" VERBATIM)
  add_custom_target(format
    COMMAND ${MOE4J_CLANG_FORMAT} -i ${formatted_files}
    COMMENT "Formatting cpp/" VERBATIM)
else()
  add_custom_target(format-check
    COMMAND ${CMAKE_COMMAND} -E echo "format-check needs clang-format: apt-get install clang-format"
    COMMAND ${CMAKE_COMMAND} -E false)
endif()
