#pragma once
/// Profiles with Customer AI scores as Parquet files, made by DuckDB: nested score group, factors, identity map,
/// segment membership. Values follow from the row number, so a set is the same wherever it is made.

#include <duckdb.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace caiexport::bench {

inline void runSql(duckdb_connection connection, const std::string& sql) {
  duckdb_result result;
  if (duckdb_query(connection, sql.c_str(), &result) == DuckDBError) {
    const std::string reason = duckdb_result_error(&result);
    duckdb_destroy_result(&result);
    throw std::runtime_error(reason);
  }
  duckdb_destroy_result(&result);
}

inline std::string sqlText(const std::string& text) {
  std::string quoted = "'";
  for (const char letter : text) quoted += letter == '\'' ? std::string("''") : std::string(1, letter);
  return quoted + "'";
}

/// Writes rows [from, from + count) to `path`. The scores follow from the row number and `salt`.
inline void writeProfiles(duckdb_connection connection, const std::filesystem::path& path, std::uint64_t from,
                          std::uint64_t count, std::uint64_t salt = 1) {
  runSql(connection, "CREATE OR REPLACE MACRO h(i, salt) AS (hash(i * 1000003 + salt) % 1000000)::DOUBLE / 1000000");
  static constexpr const char* kSelect = R"sql(
  WITH b AS (
    SELECT i, h(i, __SALT__) AS u1, h(i, 2) AS u2, h(i, 3) AS u3, h(i, 4) AS u4,
      substr(md5(i::VARCHAR), 1, 8) || '-' || substr(md5(i::VARCHAR), 9, 4) || '-4' || substr(md5(i::VARCHAR), 14, 3)
        || '-a' || substr(md5(i::VARCHAR), 18, 3) || '-' || substr(md5(i::VARCHAR), 21, 12) AS uuid
    FROM range(__FROM__, __TO__) t(i)
  ), s AS (SELECT *, round(100 * pow(u1, 2.2), 4) AS score FROM b)
  SELECT
    uuid AS _id,
    struct_pack(customerAI := struct_pack(churn_q3 := struct_pack(
      score := score,
      probability := round(score / 100, 6),
      percentile := (1 + floor(u1 * 100))::INTEGER,
      calibratedScore := CASE WHEN u2 < 0.02 THEN NULL ELSE round(score * 0.93 + 2, 4) END,
      scoreDate := TIMESTAMPTZ '2025-06-01 03:17:05.123+00' + INTERVAL 1 SECOND * (i % 5400),
      expiryDate := DATE '2025-07-01',
      modelId := 'a1b2c3d4-churn-30d',
      modelVersion := '17',
      influentialFactors := list_transform(range((1 + floor(u3 * 5))::BIGINT), lambda k: struct_pack(
        factorName := (['daysSinceLastPurchase','webVisits_30d','emailOpens_7d','avgOrderValue','supportTickets_90d',
                        'appSessions_14d'])[(1 + (i + k * 7) % 6)::INTEGER],
        factorValue := round(h(i, 10 + k) * 250, 2)::VARCHAR,
        impact := (['positive','negative'])[(1 + (i + k) % 2)::INTEGER],
        importance := round((1.0 - k * 0.17) * h(i, 20 + k), 5)))))) AS _tenant,
    MAP {
      'ECID': [struct_pack(id := lpad((i * 9973 % 1000000000000)::VARCHAR, 38, '0'), authenticatedState := 'ambiguous',
                           "primary" := (u4 >= 0.6))],
      'CRMID': CASE WHEN u4 < 0.6 THEN [struct_pack(id := 'crm-' || i::VARCHAR, authenticatedState := 'authenticated',
                                                    "primary" := true)] ELSE [] END
    } AS identityMap,
    MAP { 'ups': MAP_FROM_ENTRIES(list_transform(range((floor(u2 * 4))::BIGINT), lambda k: struct_pack(
      k := (['7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a','0b7c1b0a-2f0e-4f57-8a1b-3d11a3f3d7c4',
             'e1d2c3b4-9a8b-4c7d-8e6f-112233445566','99887766-5544-4332-8110-ffeeddccbbaa'])[(1 + k)::INTEGER],
      v := struct_pack(status := (['realized','existing','exited'])[(1 + (i + k) % 3)::INTEGER],
                       lastQualificationTime := TIMESTAMPTZ '2025-05-30 00:00:00+00' + INTERVAL 1 MINUTE * (i % 1440)))))
    } AS segmentMembership,
    struct_pack("name" := struct_pack(firstName := 'First' || (i % 977)::VARCHAR,
                                      lastName := 'O''Neil, "Q" ' || (i % 1013)::VARCHAR)) AS person,
    CASE WHEN u3 < 0.05 THEN NULL ELSE struct_pack(address := 'user' || i::VARCHAR || '@example.test') END
      AS personalEmail,
    TIMESTAMPTZ '2025-06-01 03:00:00+00' + INTERVAL 1 MILLISECOND * i AS "timestamp",
    'US' AS _region
  FROM s)sql";
  std::string select = kSelect;
  const auto put = [&select](const std::string& mark, const std::string& value) {
    select.replace(select.find(mark), mark.size(), value);
  };
  put("__SALT__", std::to_string(salt));
  put("__FROM__", std::to_string(from));
  put("__TO__", std::to_string(from + count));
  runSql(connection, "COPY (" + select + ") TO " + sqlText(path.string()) +
                         " (FORMAT PARQUET, COMPRESSION SNAPPY, ROW_GROUP_SIZE 122880)");
}

}  // namespace caiexport::bench
