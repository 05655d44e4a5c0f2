import Foundation
import MigrationGenerator
import RetentionModel
let out = CommandLine.arguments[1]
var model = RetentionModel.jam
if CommandLine.arguments.count > 2 { model.refcounting = .deferred }
for f in MigrationGenerator.files(for: model) {
  let url = URL(fileURLWithPath: out + "/" + f.path)
  try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
  try f.text.write(to: url, atomically: true, encoding: .utf8)
}
