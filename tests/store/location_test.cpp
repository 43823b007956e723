#include "caiexport/store/location.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "caiexport/core/error.h"

namespace caiexport::store {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(LocationTest, tellsAddressesFromNamesOfFiles) {
  for (const char* text : {"postgresql://h/n", "postgres://", "mysql://h/n", "POSTGRESQL://h", "x+y://a"}) {
    EXPECT_TRUE(Location::isAddress(text)) << text;
  }
  for (const char* text : {"jobs.db", "/a/b://c", "://", "./postgresql:/x", "C:/jobs.db", "1a://x", ""}) {
    EXPECT_FALSE(Location::isAddress(text)) << text;
  }
}

TEST(LocationTest, isNamedWithoutUserAndSettings) {
  const Location location = Location::ofServer("postgresql://me@db.example:5433/exports?sslmode=verify-full");
  EXPECT_TRUE(location.isServer());
  EXPECT_EQ(location.name(), "postgresql://db.example:5433/exports");
  EXPECT_EQ(Location::ofServer("postgres:///x?service=team").name(), "postgresql:///x?service=team");
  EXPECT_EQ(Location("/a/jobs.db").name(), "/a/jobs.db");
  EXPECT_FALSE(Location("/a/jobs.db").isServer());
}

TEST(LocationTest, NoPasswordIsTakenOrShown) {
  for (const char* address : {"postgresql://me:s3cret-word@h/n", "postgresql://h/n?password=s3cret-word",
                              "postgresql://h/n?sslpassword=s3cret-word", "postgresql://me:s3cret-word@h/n?nonsense=1",
                              "postgresql://me:s3cret-word@h:%zz/n", "mysql://me:s3cret-word@h/n"}) {
    SCOPED_TRACE(address);
    try {
      Location::ofServer(address);
      ADD_FAILURE() << "taken";
    } catch (const core::Error& error) {
      EXPECT_EQ(error.category(), core::Category::config);
      EXPECT_THAT(error.what(), Not(HasSubstr("s3cret")));
      EXPECT_THAT(error.hint(), Not(HasSubstr("s3cret")));
      EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    }
  }
}

}  // namespace
}  // namespace caiexport::store
