# Turns text files into one C++ source, so that the program needs no files beside it.
#
# cmake -DOUTPUT=x.cc -DVARIABLE=kName -DNAMESPACE=a::b -DFILES="a.toml;b.toml" -P EmbedText.cmake
# defines  const std::vector<std::pair<const char*, const char*>> kName;  (stem, text)
set(source "#include <utility>\n#include <vector>\n\nnamespace ${NAMESPACE} {\n\n")
string(APPEND source "extern const std::vector<std::pair<const char*, const char*>> ${VARIABLE};\n")
string(APPEND source "const std::vector<std::pair<const char*, const char*>> ${VARIABLE} = {\n")
foreach(file IN LISTS FILES)
  get_filename_component(stem "${file}" NAME_WE)
  file(READ "${file}" text)
  string(APPEND source "{\"${stem}\", R\"~embedded~(${text})~embedded~\"},\n")
endforeach()
string(APPEND source "};\n\n}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUTPUT}" "${source}")
