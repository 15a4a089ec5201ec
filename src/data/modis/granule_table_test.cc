#include "data/modis/granule_table.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

TEST(GranuleTable, SaysWhichGranulesAreSynthetic) {
  const data::test::TemporaryDirectory root;
  EXPECT_FALSE(read_synthetic_marks(root.path()));
  const std::string head = std::string(kGranuleTableHeader) + "\n";
  write_file_atomically(root / kGranuleTableFile,
                        head +
                            "MOD021KM.A2012123.1000,,4,2,night=2,0,5 km,1,\"\"\n"
                            "MYD021KM.A2012123.1005,,4,4,,1,1 km,0,\"\"\n"
                            "MYD021KM.A2012123.1010.hdf,pair,0,0,,0,5 km,0,\"a, \"\"b\"\"\"\n");
  const auto marks = read_synthetic_marks(root.path());
  ASSERT_TRUE(marks);
  EXPECT_EQ(marks->size(), 3U);
  EXPECT_TRUE(marks->at("MOD021KM.A2012123.1000"));
  EXPECT_FALSE(marks->at("MYD021KM.A2012123.1005"));
  write_file_atomically(root / kGranuleTableFile, head + "MOD021KM.A2012123.1000,1\n");
  EXPECT_THROW(read_synthetic_marks(root.path()), Error);
  write_file_atomically(root / kGranuleTableFile, "granule,synthetic\n");
  EXPECT_THROW(read_synthetic_marks(root.path()), Error);
}

}  // namespace
}  // namespace swath::data::modis
