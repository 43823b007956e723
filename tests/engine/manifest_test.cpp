#include "caiexport/engine/manifest.h"

#include "caiexport/core/file_system.h"
#include "store/store_fixture.h"

namespace caiexport::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ManifestTest : public store::StoreTest {
 protected:
  ManifestTest() {
    model::ExportRequest request = store::datasetRequest();
    request.output = folder_ / "out";
    jobId_ = jobWithBatches({"b1", "b2"}, request).id;
  }

  Manifest written(std::size_t batch) {
    const model::Job job = store().load(jobId_);
    const std::filesystem::path folder = job.request.output / job.datasetId.value() / job.batches.at(batch).id.value();
    std::filesystem::create_directories(folder);
    writeManifest(job, job.batches[batch], store(), core::diskFileSystem());
    return readManifest(folder);
  }

  std::vector<std::string> pathsIn(const Manifest& manifest) {
    std::vector<std::string> paths;
    for (const ManifestFile& file : manifest.files) paths.push_back(file.path);
    return paths;
  }

  void finish(std::optional<std::uint64_t> records) {
    for (const auto& file : filesOf(jobId_)) {
      download(file.id);
      verify(file.id, records);
    }
  }

  model::JobId jobId_{};
};

TEST_F(ManifestTest, NamesComeBackAsTheyWere) {
  const std::vector<std::string> names{"plain.parquet", "a \"quoted\" one", "back\\slash",
                                       "pärquet",       "tab\there",        "a~b/c"};
  std::vector<model::RemoteFile> remotes;
  for (const std::string& name : names) remotes.push_back(store::remoteFile("b1", "d", name, 7));
  list(jobId_, "b1", remotes);
  finish(3);
  const Manifest manifest = written(0);
  EXPECT_EQ(pathsIn(manifest), names);
  EXPECT_EQ(manifest.job, model::numberOf(jobId_));
  EXPECT_EQ(manifest.batchId, "b1");
  EXPECT_EQ(manifest.records, 18U);
  ASSERT_THAT(manifest.files, SizeIs(6));
  EXPECT_EQ(manifest.files[3].sha256, store::sha256Of('a'));
  EXPECT_EQ(manifest.files[3].bytes, 7U);
  EXPECT_EQ(manifest.files[3].records, 3U);
}

TEST_F(ManifestTest, HoldsTheFilesOfItsBatchOnly) {
  list(jobId_, "b1", {store::remoteFile("b1", "d", "first")});
  list(jobId_, "b2", {store::remoteFile("b2", "d", "theirs")});
  // Its rows lie on both sides of the other's.
  list(jobId_, "b1", {store::remoteFile("b1", "d", "first"), store::remoteFile("b1", "d", "late")});
  finish(1);
  EXPECT_THAT(pathsIn(written(0)), ElementsAre("first", "late"));
  EXPECT_THAT(pathsIn(written(1)), ElementsAre("theirs"));
  EXPECT_EQ(written(0).records, 2U);
}

TEST_F(ManifestTest, RecordsAreThoseThatWereCounted) {
  list(jobId_, "b1", {store::remoteFile("b1", "d", "counted"), store::remoteFile("b1", "d", "not")});
  finish({});
  verify(fileNamed(jobId_, "counted").id, 5);
  const Manifest manifest = written(0);
  EXPECT_EQ(manifest.records, 5U);
  EXPECT_EQ(manifest.files.at(0).records, 5U);
  EXPECT_FALSE(manifest.files.at(1).records);
}

TEST_F(ManifestTest, ABatchWithoutFilesHasNone) {
  list(jobId_, "b1", {});
  list(jobId_, "b2", {store::remoteFile("b2", "d", "theirs")});
  finish(1);
  const Manifest manifest = written(0);
  EXPECT_THAT(manifest.files, IsEmpty());
  EXPECT_EQ(manifest.records, 0U);
}

}  // namespace
}  // namespace caiexport::engine
