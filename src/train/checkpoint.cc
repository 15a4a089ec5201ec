#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"

namespace swath::train {
namespace fs = std::filesystem;
namespace {

constexpr int kFormatVersion = 1;
constexpr const char* kStepPrefix = "step_";
constexpr const char* kPartialPrefix = ".partial-";
constexpr const char* kFallBackHint =
    "resume=auto goes on from the checkpoint before it; or copy this one again from its source.";

std::string checksum_text(std::string_view bytes) { return fmt::format("{:016x}", xxh3(bytes)); }

std::string_view bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// Losing the mark first makes a half-deleted directory an incomplete one.
void remove_checkpoint(const fs::path& path) {
  fs::remove(path / "COMPLETE");
  fs::remove_all(path);
}

// Removes the directory unless told that it was published.
class PartialDirectory {
 public:
  explicit PartialDirectory(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~PartialDirectory() {
    std::error_code ignored;
    if (!is_published_) fs::remove_all(path_, ignored);
  }
  void publish_as(const fs::path& target) {
    remove_checkpoint(target);
    fs::rename(path_, target);
    is_published_ = true;
    sync_directory(target.parent_path());
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  bool is_published_ = false;
};

void check_free_space(const fs::path& directory, int64_t needed_bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(directory, error);
  if (error || space.available >= static_cast<uint64_t>(needed_bytes)) return;
  throw Error(fmt::format("the disk is too full for a checkpoint: {} needs {} bytes, {} are free.",
                          directory.string(), needed_bytes, space.available),
              "free some space, or keep fewer checkpoints with --set train.keep_last=1.");
}

at::Tensor read_verified(const Checkpoint& checkpoint, const std::string& name,
                         std::map<std::string, SafetensorsFile>* files) {
  const Json& entry = checkpoint.tensors.at(name);
  const std::string file_name = entry.at("file");
  auto file = files->find(file_name);
  if (file == files->end()) {
    file = files->emplace(file_name, SafetensorsFile(checkpoint.path / file_name)).first;
  }
  const at::Tensor tensor = read_tensor(file->second, name);
  const std::string found = checksum_text(bytes_of(tensor));
  if (found != entry.at("xxh3").get<std::string>()) {
    throw Error(fmt::format("checkpoint {}: tensor {} in {} is damaged: checksum {}, expected {}.",
                            checkpoint.path.string(), name, file_name, found,
                            entry.at("xxh3").get<std::string>()),
                kFallBackHint);
  }
  return tensor;
}

}  // namespace

fs::path save_checkpoint(const fs::path& directory, int64_t step, const NamedTensors& tensors,
                         const Json& state, const std::string& config) {
  fs::create_directories(directory);
  int64_t needed_bytes = 1 << 20;
  for (const auto& [name, tensor] : tensors) {
    needed_bytes += static_cast<int64_t>(tensor.numel() * tensor.element_size());
  }
  check_free_space(directory, needed_bytes);

  const std::string name = fmt::format("{}{:08d}", kStepPrefix, step);
  PartialDirectory partial(directory / fmt::format("{}{}-{}", kPartialPrefix, name, getpid()));

  // 1. The tensors, each hashed as it is written.
  const std::string file_name = "rank_00000.safetensors";
  Json index_tensors = Json::object();
  NamedTensors host_tensors;
  for (const auto& [tensor_name, tensor] : tensors) {
    const at::Tensor host = tensor.detach().to(at::kCPU).contiguous();
    index_tensors[tensor_name] = {{"file", file_name},
                                  {"dtype", safetensors_dtype(host.scalar_type())},
                                  {"shape", host.sizes().vec()},
                                  {"bytes", host.nbytes()},
                                  {"xxh3", checksum_text(bytes_of(host))}};
    host_tensors.emplace_back(tensor_name, host);
  }
  write_tensors(partial.path() / file_name, host_tensors, {{"format", "swath checkpoint"}});

  // 2. The index, then the mark, then the name.
  const Json index = {{"format_version", kFormatVersion},
                      {"step", step},
                      {"state", state},
                      {"config", config},
                      {"tensors", index_tensors}};
  write_file_atomically(partial.path() / "index.json", index.dump(1));
  write_file_atomically(partial.path() / "COMPLETE", "");
  const fs::path target = directory / name;
  partial.publish_as(target);
  return target;
}

Checkpoint open_checkpoint(const fs::path& path) {
  if (!fs::exists(path / "COMPLETE")) {
    throw Error(fmt::format("checkpoint {} is not complete.", path.string()),
                "it was being written when its run ended; take an older one.");
  }
  try {
    const Json index = Json::parse(read_file(path / "index.json"));
    if (index.at("format_version") != kFormatVersion) {
      throw Error(fmt::format("checkpoint {} has format version {}, this program reads {}.",
                              path.string(), index.at("format_version").dump(), kFormatVersion));
    }
    return {path, index.at("step"), index.at("state"), index.at("config"), index.at("tensors")};
  } catch (const Json::exception& error) {
    throw Error(
        fmt::format("checkpoint {}: index.json is damaged ({}).", path.string(), error.what()),
        kFallBackHint);
  }
}

void verify_checkpoint(const Checkpoint& checkpoint) {
  std::map<std::string, SafetensorsFile> files;
  for (const auto& [name, entry] : checkpoint.tensors.items()) {
    read_verified(checkpoint, name, &files);
  }
}

std::optional<Checkpoint> newest_sound_checkpoint(const fs::path& directory) {
  std::vector<Checkpoint> found = list_checkpoints(directory);
  for (; !found.empty(); found.pop_back()) {
    try {
      verify_checkpoint(found.back());
      return found.back();
    } catch (const Error& error) {
      log_warning(fmt::format("passing over {}", error.message()));
    }
  }
  return std::nullopt;
}

std::vector<Checkpoint> list_checkpoints(const fs::path& directory) {
  std::vector<Checkpoint> found;
  if (!fs::is_directory(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPartialPrefix)) {
      log_info(fmt::format("passing over {}: its writing was interrupted.", entry.path().string()));
      continue;
    }
    if (!name.starts_with(kStepPrefix)) continue;
    try {
      found.push_back(open_checkpoint(entry.path()));
    } catch (const Error& error) {
      log_warning(fmt::format("passing over {}", error.message()));
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return found;
}

Checkpoint find_checkpoint(const fs::path& path) {
  if (!fs::exists(path)) {
    throw UsageError(fmt::format("checkpoint {} does not exist.", path.string()));
  }
  if (fs::exists(path / "index.json")) return open_checkpoint(path);
  for (const fs::path& directory : {path / "checkpoints", path}) {
    std::vector<Checkpoint> found = list_checkpoints(directory);
    if (!found.empty()) return found.back();
  }
  throw UsageError(fmt::format("{} holds no complete checkpoint.", path.string()),
                   "name a run directory or one of its checkpoints/step_* directories.");
}

void load_checkpoint(const Checkpoint& checkpoint, const NamedTensors& tensors,
                     const std::string& prefix) {
  std::vector<std::string> differences;
  std::set<std::string> wanted;
  for (const auto& [name, tensor] : tensors) {
    wanted.insert(name);
    const auto entry = checkpoint.tensors.find(name);
    if (entry == checkpoint.tensors.end()) {
      differences.push_back(name + " is missing in the checkpoint");
    } else if (const auto shape = entry->at("shape").get<std::vector<int64_t>>();
               shape != tensor.sizes().vec()) {
      differences.push_back(fmt::format("{} has shape [{}] there and [{}] here", name,
                                        fmt::join(shape, ", "), fmt::join(tensor.sizes(), ", ")));
    }
  }
  for (const auto& [name, entry] : checkpoint.tensors.items()) {
    if (name.starts_with(prefix) && !wanted.contains(name)) {
      differences.push_back(name + " is only in the checkpoint");
    }
  }
  if (!differences.empty()) {
    const size_t shown = std::min<size_t>(differences.size(), 5);
    throw UsageError(
        fmt::format("checkpoint {} belongs to another model: {}{}.", checkpoint.path.string(),
                    fmt::join(differences.begin(), differences.begin() + int64_t(shown), "; "),
                    shown < differences.size()
                        ? fmt::format("; and {} more", differences.size() - shown)
                        : ""),
        "use the model settings of its config.toml, or start another run.");
  }
  // Read and verify everything first: a damaged tensor must not leave half a model behind.
  std::map<std::string, SafetensorsFile> files;
  std::vector<at::Tensor> loaded;
  loaded.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    loaded.push_back(read_verified(checkpoint, name, &files));
  }
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor target = tensors[i].second;
    target.copy_(loaded[i]);
  }
}

at::Tensor read_checkpoint_tensor(const Checkpoint& checkpoint, const std::string& name) {
  if (!checkpoint.tensors.contains(name)) {
    throw Error(fmt::format("checkpoint {} has no tensor {}.", checkpoint.path.string(), name));
  }
  std::map<std::string, SafetensorsFile> files;
  return read_verified(checkpoint, name, &files);
}

void delete_old_checkpoints(const fs::path& directory, int64_t step, int64_t keep_last,
                            int64_t keep_every) {
  std::vector<std::pair<int64_t, fs::path>> complete;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPartialPrefix)) leftovers.push_back(entry.path());
    if (!name.starts_with(kStepPrefix) || !fs::exists(entry.path() / "COMPLETE")) continue;
    const int64_t found = std::stoll(name.substr(std::string(kStepPrefix).size()));
    if (found <= step) complete.emplace_back(found, entry.path());
  }
  std::sort(complete.begin(), complete.end());
  const auto count = static_cast<int64_t>(complete.size());
  for (int64_t i = 0; i + keep_last < count; ++i) {
    const auto& [old_step, path] = complete[static_cast<size_t>(i)];
    if (keep_every > 0 && old_step % keep_every == 0) continue;
    remove_checkpoint(path);
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

}  // namespace swath::train
