import EmbeddedPostgres
import Foundation
import Testing

/// A file system in memory that is soon full, as long as nobody lets it go.
final class SmallFileSystem {
  /// Where it is mounted.
  let path: String

  /// Whether this process may mount one.
  static let isPossible = (try? SmallFileSystem(bytes: 1 << 16)) != nil

  init(bytes: Int) throws {
    path = FileManager.default.temporaryDirectory.appending(path: "jam-small-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    do {
      let mounted = try ChildProcess.run(["mount", "-t", "tmpfs", "-o", "size=\(bytes)", "tmpfs", path])
      try #require(mounted.status == 0, "\(mounted.error)")
    } catch {
      rmdir(path)
      throw error
    }
  }

  deinit {
    _ = try? ChildProcess.run(["umount", path])
    rmdir(path)
  }
}
