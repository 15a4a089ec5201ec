#include <fmt/format.h>

#include "bench/report/html.h"
#include "bench/report/sections.h"

namespace swath::bench {
namespace {

// Pictures with fewer pixels than this are enlarged without blurring their pixels.
constexpr int kSmallWidth = 700;

std::string caption_of(const Picture& picture) {
  if (!picture.caption.empty()) return picture.caption;
  if (picture.file.starts_with("reconstruct")) {
    return "For each chip: original, what the encoder saw, and the reconstruction.";
  }
  return picture.file;
}

}  // namespace

Section pictures_section(const std::vector<RunDirectory>& runs) {
  Section section{"pictures", "Reconstructions", "", 0};
  std::string figures;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (const Picture& picture : runs[r].pictures) {
      // Much wider than high: on a phone it scrolls rather than shrinks.
      const bool is_strip = 2 * picture.width > 3 * picture.height;
      const std::string caption = escape_html(caption_of(picture));
      const std::string run =
          runs.size() > 1
              ? fmt::format(R"(<span class="swatch run-{}"></span><strong>{}</strong> · )",
                            r % 8 + 1, escape_html(runs[r].name))
              : std::string();
      figures += fmt::format(
          R"(<figure class="card picture"><div class="frame"><button type="button" aria-label="Enlarge"><img src="{}" alt="{}" width="{}" height="{}" class="{}{}"></button></div><figcaption>{}{}</figcaption></figure>)",
          data_uri(picture.mime, picture.bytes), caption, picture.width, picture.height,
          picture.width < kSmallWidth ? "small " : "", is_strip ? "strip" : "", run, caption);
    }
  }
  if (figures.empty()) return section;
  section.html = fmt::format(
      R"(<section id="pictures" aria-labelledby="pictures-title"><div class="section-head"><h2 id="pictures-title">Reconstructions</h2></div><div class="pictures">{}</div></section>)",
      figures);
  return section;
}

}  // namespace swath::bench
