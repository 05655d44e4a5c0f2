import Foundation

/// What the file system says about a file.
struct FileStatus {
  let size: Int64
  let lastModified: Date

  init(of descriptor: Int32, at path: String) throws {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileSystemFailure("look at the file", path) }
    self.init(status)
  }

  init(path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw FileSystemFailure("look at the file", path) }
    self.init(status)
  }

  private init(_ status: stat) {
    size = Int64(status.st_size)
    lastModified = Date(timeIntervalSince1970: TimeInterval(status.st_mtim.tv_sec))
  }
}
