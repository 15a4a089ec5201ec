#include "core/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace swath {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void throw_write_error(const fs::path& path, uint64_t needed_bytes, int error) {
  if (error == ENOSPC || error == EDQUOT) {
    std::error_code ignored;
    const auto space = fs::space(path.has_parent_path() ? path.parent_path() : ".", ignored);
    throw Error(fmt::format("the disk is full: {} needs {} more bytes, {} are free.", path.string(),
                            needed_bytes, space.available),
                "free some space, or choose another place with --set output=DIRECTORY.");
  }
  throw Error(fmt::format("cannot write {}: {}.", path.string(), std::strerror(error)));
}

}  // namespace

std::string read_file(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error(fmt::format("cannot read {}: {}.", path.string(), std::strerror(errno)));
  }
  std::string contents;
  struct stat status{};
  if (fstat(descriptor, &status) == 0 && status.st_size > 0) {
    contents.reserve(static_cast<size_t>(status.st_size));
  }
  char buffer[1 << 16];
  ssize_t count = 0;
  while ((count = read(descriptor, buffer, sizeof buffer)) > 0) {
    contents.append(buffer, static_cast<size_t>(count));
  }
  const int error = errno;
  close(descriptor);
  if (count < 0) {
    throw Error(fmt::format("cannot read {}: {}.", path.string(), std::strerror(error)));
  }
  return contents;
}

void write_file_atomically(const fs::path& path, std::string_view contents) {
  AtomicFileWriter writer(path);
  writer.write(contents);
  writer.publish();
}

fs::path partial_path(const fs::path& path) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return path.string() + fmt::format(".partial-{}-{}", getpid(), host.data());
}

AtomicFileWriter::AtomicFileWriter(fs::path path)
    : path_(std::move(path)), temporary_path_(partial_path(path_)) {
  if (path_.has_parent_path()) {
    std::error_code error;
    fs::create_directories(path_.parent_path(), error);
    if (error) throw_write_error(path_, 0, error.value());
  }
  descriptor_ = open(temporary_path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw_write_error(path_, 0, errno);
}

AtomicFileWriter::~AtomicFileWriter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_path_.c_str());
}

void AtomicFileWriter::write(const void* bytes, size_t count) {
  write_at(bytes_written_, bytes, count);
  bytes_written_ += count;
}

void AtomicFileWriter::write_at(uint64_t offset, const void* bytes, size_t count) {
  const char* next = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = pwrite(descriptor_, next, count, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_write_error(path_, count, errno);
    }
    next += written;
    offset += static_cast<uint64_t>(written);
    count -= static_cast<size_t>(written);
  }
}

void AtomicFileWriter::publish() {
  if (fsync(descriptor_) != 0) throw_write_error(path_, 0, errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (close(descriptor) != 0 || rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    unlink(temporary_path_.c_str());
    throw_write_error(path_, 0, error);
  }
  sync_directory(path_.parent_path());
}

void sync_directory(const fs::path& directory) {
  const fs::path path = directory.empty() ? fs::path(".") : directory;
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

fs::path make_output_directory(const std::string& requested, const std::string& command,
                               bool overwrite) {
  if (requested.empty()) {
    fs::create_directories("runs");
    for (int number = 1;; ++number) {
      const fs::path candidate = fs::path("runs") / fmt::format("{}-{}", command, number);
      // create_directory is atomic: two processes never get the same number.
      if (fs::create_directory(candidate)) return candidate;
    }
  }
  const fs::path directory(requested);
  if (fs::exists(directory) && !fs::is_directory(directory)) {
    throw UsageError(fmt::format("output {} is a file, not a directory.", requested));
  }
  if (fs::exists(directory) && !fs::is_empty(directory)) {
    if (!overwrite) {
      throw UsageError(fmt::format("output {} already holds results.", requested),
                       "choose another --set output=DIRECTORY, or replace them with --overwrite.");
    }
    if (!fs::exists(directory / "config.toml")) {
      throw UsageError(
          fmt::format(
              "output {} is not a run directory (it has no config.toml): it is not emptied.",
              requested),
          "choose another --set output=DIRECTORY.");
    }
    for (const auto& entry : fs::directory_iterator(directory)) fs::remove_all(entry.path());
  }
  fs::create_directories(directory);
  return directory;
}

std::string expand_environment(const std::string& text) {
  std::string expanded;
  size_t position = 0;
  while (true) {
    const size_t begin = text.find("${", position);
    const size_t end = begin == std::string::npos ? begin : text.find('}', begin);
    if (end == std::string::npos) return expanded + text.substr(position);
    const std::string name = text.substr(begin + 2, end - begin - 2);
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) {
      throw UsageError(fmt::format("{}: the environment variable {} is not set.", text, name),
                       fmt::format("export {}=FOLDER, or give the whole path.", name));
    }
    expanded += text.substr(position, begin - position) + value;
    position = end + 1;
  }
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error(fmt::format("cannot read {}: {}.", path.string(), std::strerror(errno)));
  }
  struct stat status{};
  fstat(descriptor, &status);
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    void* address = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
    if (address == MAP_FAILED) {
      const int error = errno;
      close(descriptor);
      throw Error(fmt::format("cannot map {}: {}.", path.string(), std::strerror(error)));
    }
    data_ = static_cast<const char*>(address);
  }
  close(descriptor);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

}  // namespace swath
