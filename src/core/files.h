// Files that are complete or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace swath {

// The whole file. Throws Error naming the path.
std::string read_file(const std::filesystem::path& path);

// Writes to a temporary file in the same directory, flushes it to the disk, then renames: readers
// see the old contents or the new, never a part. Throws Error naming the path and, on a full disk,
// the bytes needed and free; the old file is unharmed then.
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

// Where AtomicFileWriter writes before publish(): a name that no other process has, of this machine
// or of another one that shares the folder.
std::filesystem::path partial_path(const std::filesystem::path& path);

// An output file written in sequence under a temporary name; publish() makes it appear. Destroyed
// without publish(), it leaves nothing.
class AtomicFileWriter {
 public:
  explicit AtomicFileWriter(std::filesystem::path path);
  ~AtomicFileWriter();
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  void write(const void* bytes, size_t count);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  // Overwrites bytes already written, for headers known last.
  void write_at(uint64_t offset, const void* bytes, size_t count);
  uint64_t bytes_written() const { return bytes_written_; }
  // Flushes to the disk and renames into place.
  void publish();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_path_;
  int descriptor_ = -1;
  uint64_t bytes_written_ = 0;
};

// Flushes a directory's entries to the disk, so that a rename inside it survives a power loss.
void sync_directory(const std::filesystem::path& directory);

// A fresh directory for results: `requested`, or `runs/COMMAND-N` with the next free N when it is
// empty. A directory that already holds files is refused unless `overwrite`, which empties it only
// if it looks like a run directory of ours (holds config.toml).
std::filesystem::path make_output_directory(const std::string& requested,
                                            const std::string& command, bool overwrite);

// Replaces ${NAME} by the environment variable; throws UsageError when it is not set.
std::string expand_environment(const std::string& text);

// A file mapped into memory, read only.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  MappedFile(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace swath
