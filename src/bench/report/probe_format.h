// One form for all evaluation results: what `probe` and `finetune` write, and plain tables that
// other programs may write, become the same JSON.
//
// Read (shares are 0..1; everything is optional):
//   method, dataset, class_names, classes, train_images, test_images,
//   top1, top5, best_top1, best_epoch, interval [low, high], balanced_accuracy, macro_f1,
//   history    [{epoch, train_loss, lr, top1, top5, test_loss}]
//   confusion  [[count]] by class_names, or {classes, matrix}; rows are the truth
//   logistic   {raw: {top1, top5, interval ...}}, or {top1, ...}
//   knn        {weighted: [{k, top1, top5, interval}]}, or {top1, ...}
//   few_shot   {shots: [{shots, logistic: {mean, interval}}]}, or [{name, shots, top1, low, high}]
//   baselines  {untrained: {the same keys}, band_statistics: {...}, majority_class: share}, or
//              [{name, top1, ...}]
//   versus     {untrained: {difference, interval, balanced: {difference, interval}}, ...}
//   pixels     {mean_iou, pixel_accuracy, iou {class: share}, baselines {name: {...}}}
//   per_class  [{name, images, precision, recall, f1}]
//   seeds      [the same keys for each repeat]: scores become their mean, counts their sum
//
// Written:
//   dataset, classes, train_images, test_images, repeats, history, per_class,
//   methods    [{name, baseline, main, top1, top5, top1_std, low, high, best_top1, best_epoch,
//                balanced_accuracy, macro_f1}]; main ones are compared in charts and in the summary
//   few_shot   [{name, shots, top1, low, high}]; the model's own have an empty name
//   confusion  {classes, matrix}
//   versus     [{name, difference, low, high, balanced: {difference, low, high}}]
//   pixels     {methods: [{name, baseline, mean_iou, pixel_accuracy}], iou: [{name, iou}]}
#pragma once

#include "core/json.h"

namespace swath::bench {

// `report` is a JSON object; parts of another shape than above are left out.
Json normalized_probe(const Json& report);

}  // namespace swath::bench
