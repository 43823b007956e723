#pragma once
/// Profiles as the platform exports them, and their rows as text.

#include <string>

#include "reader_fixture.h"

namespace caiexport::test {

constexpr const char* kProfiles =
    "SELECT 'p' || i AS _id,"
    " {'cai': {'churn': {'score': i * 10.5, 'scoreDate': TIMESTAMPTZ '2025-06-01 03:17:05.123+00',"
    " 'factors': [{'name': 'visits', 'importance': 0.5}]}}} AS _tenant,"
    " MAP {'ECID': [{'id': 'e' || i, 'primary': false}, {'id': 'f' || i, 'primary': true}],"
    "      'crmid': CASE WHEN i = 0 THEN [{'id': 'c0', 'primary': false}] ELSE [] END} AS identityMap,"
    " CASE WHEN i = 1 THEN NULL ELSE {'address': 'a' || i || '@example.test'} END AS mail"
    " FROM range(3) r(i)";

class RowsFixture : public ReaderTest {
 protected:
  std::string csvOf(const std::string& select, const reader::ReadQuery& query = {}) {
    return csv(*open({parquet("f.parquet", select)}), query);
  }
  std::string jsonOf(const std::string& select, const reader::ReadQuery& query = {}) {
    return jsonl(*open({parquet("f.parquet", select)}), query);
  }
};

}  // namespace caiexport::test
