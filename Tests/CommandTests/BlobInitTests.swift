import Foundation
import TestSupport
import Testing

@Suite struct BlobInitTests {
  private func run(_ directory: String, _ arguments: String...) throws -> Command.Result {
    try Command.run(["blob", "init", "--directory", directory] + arguments)
  }

  @Test("blob init makes the directory of a store, also in an empty one, once, and then says that it is there")
  func creates() throws {
    let folder = try TemporaryFolder()
    let store = "\(folder.path)/some/store"
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    let missing = try database.run("fsck", "--directory", store)
    #expect(missing.status == 1 && missing.error.contains("jam-retention blob init"))
    let created = try run(store)
    #expect(created.status == 0 && created.output == "the store \(store) was created\n", "\(created.error)")
    try Data("x".utf8).write(to: URL(filePath: "\(store)/objects/k"))
    let again = try run(store)
    #expect(again.status == 0 && again.output == "the store \(store) is there already\n")
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(store)/objects") == ["k"])
    // What lies in the root of a file system that was just made.
    let mounted = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: "\(mounted.path)/lost+found", withIntermediateDirectories: true)
    let json = try run(mounted.path, "--format", "json")
    let fields = try #require(objects(json.outputLines).first)
    #expect(fields["directory"] as? String == mounted.path && fields["created"] as? Bool == true)
    #expect(try objects(run(mounted.path, "--format", "json").outputLines).first?["created"] as? Bool == false)
  }

  @Test("The store that blob init has made is one that the other commands use")
  func isUsed() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    let folder = try TemporaryFolder()
    let directory = ["RUNTIME_JAM_BLOB_STORE_DIRECTORY": "\(folder.path)/store"]
    try database.succeed("blob", "init", environment: directory)
    try database.putExpiredBlob()
    try database.succeed("offload", "--min-bytes", "0", "--dry-run", environment: directory)
    try database.succeed("fsck", environment: directory)
  }

  @Test("blob init leaves alone what is no store: other files, a file, a bucket, nothing that is configured")
  func refuses() throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("notes.txt", "x")
    let other = try run(folder.path)
    #expect(other.status == 1 && other.error.contains("it holds other things, such as notes.txt"), "\(other.error)")
    #expect(try folder.names() == ["notes.txt"])
    let noDirectory = try run(file)
    #expect(noDirectory.status == 1 && noDirectory.error.contains("Not a directory"), "\(noDirectory.error)")
    let bucket = try Command.run(["blob", "init", "--bucket", "jam"])
    #expect(bucket.status == 1 && bucket.error.contains("the bucket jam is made with the store's own tools"))
    let nothing = try Command.run(["blob", "init"])
    #expect(nothing.status == 1 && nothing.error.contains("no object store is configured"))
  }
}
