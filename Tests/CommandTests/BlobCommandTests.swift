import Foundation
import TestSupport
import Testing

@Suite struct BlobCommandTests {
  private let content = Data("some content\n".utf8)

  @Test("put, get and head, of a file and of standard input, in a row and in the object store")
  func roundTrip() throws {
    let store = try CommandStore()
    try store.database.connection.execute("UPDATE jam_retention_policy SET offload_threshold_bytes = 5")
    let folder = try TemporaryFolder()
    let file = try folder.write("content", "some content\n")
    #expect(try store.succeed("blob", "put", file, "--media-type", "text/plain").output == "\(content.digest)\n")
    let large = Data((0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
    let put = try store.start(["blob", "put", "-", "--storage-class", "s3", "--format", "json"], input: large).end()
    let object = try #require(objects(put.outputLines).first)
    #expect(put.status == 0 && object["hash"] as? String == large.digest && object["size"] as? Int == 700_000)
    #expect(object["storage_class"] as? String == "s3" && object["was_there"] as? Bool == false)
    #expect(try store.names() == ["preimages%2F\(large.digest)"] && store.inline() == 1)
    let again = try store.json("blob", "put", file)
    #expect(again["was_there"] as? Bool == true && again["storage_class"] as? String == "db")

    #expect(try store.succeed("blob", "get", content.digest).output == "some content\n")
    for data in [content, large] {
      let copy = "\(folder.path)/copy"
      #expect(try store.succeed("blob", "get", data.digest, "-o", copy).output.isEmpty)
      #expect(try Data(contentsOf: URL(filePath: copy)) == data)
    }

    let lines = try store.succeed("blob", "head", content.digest).outputLines
    #expect(lines.contains("media_type     text/plain") && lines.contains("storage_class  db"))
    let head = try store.json("blob", "head", large.digest)
    #expect(head["object"] as? String == "preimages/\(large.digest)" && head["size"] as? Int == 700_000)
    #expect(try folder.names() == ["content", "copy"])
  }

  @Test("What cannot say how long it is, is put whole: a pipe under any name, a file of the kernel's")
  func unknownLength() throws {
    let store = try CommandStore()
    let large = Data((0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
    let names = try TemporaryFolder()
    let (pipe, source) = ("\(names.path)/pipe", "\(names.path)/source")
    try large.write(to: URL(filePath: source))
    let piped = try store.start(["blob", "put", pipe], shell: "mkfifo \(pipe); cat < \(source) > \(pipe) &").end()
    #expect(piped.output == "\(large.digest)\n")
    let kernel = try #require(FileManager.default.contents(atPath: "/proc/version"))
    #expect(try store.succeed("blob", "put", "/proc/version").output == "\(kernel.digest)\n")
    let folder = try store.run("blob", "put", "/tmp")
    #expect(folder.status == 1 && folder.error.contains("cannot read the content of /tmp"))
  }

  @Test(
    "What cannot be printed is a failure",
    arguments: [["blob", "put", "FILE"], ["blob", "get", "HASH"], ["status"]]
  )
  func fullOutput(command: [String]) throws {
    let store = try CommandStore()
    let folder = try TemporaryFolder()
    let file = try folder.write("content", "some content\n")
    try store.succeed("blob", "put", file)
    let arguments = command.map { $0 == "FILE" ? file : $0 == "HASH" ? content.digest : $0 }
    let result = try store.start(arguments, shell: "exec > /dev/full").end()
    #expect(
      result.status == 1 && result.error.hasSuffix("standard output cannot be written: No space left on device\n")
    )
  }

  @Test("What is not there, and what is no hash: exit 1, and the reason")
  func missing() throws {
    let store = try CommandStore()
    for command in ["get", "head"] {
      let unknown = try store.run("blob", command, content.digest)
      #expect(unknown.status == 1 && unknown.error.contains("there is no blob with the hash \(content.digest)"))
      let wrong = try store.run("blob", command, content.digest.uppercased())
      #expect(wrong.status == 1 && wrong.error.contains("is no hash: give the SHA-256"))
    }
    let file = try store.run("blob", "put", "/nowhere/at-all")
    #expect(file.status == 1 && file.error.contains("/nowhere/at-all"))
  }

  @Test("--expect with another hash: nothing is put")
  func expectation() throws {
    let store = try CommandStore()
    let other = Data("other".utf8).digest
    for storageClass in ["db", "s3"] {
      let result = try store.run("blob", "put", "-", "--expect", other, "--storage-class", storageClass, input: content)
      #expect(result.status == 1 && result.output.isEmpty)
      #expect(result.error.contains("has the hash \(content.digest), not \(other); nothing was put"))
    }
    #expect(try store.inline() + store.external() == 0 && store.names() == [])
    #expect(try store.succeed("blob", "put", "-", "--expect", content.digest, input: content).output.count == 65)
  }

  @Test("A content whose hash is wrong leaves no file, and one that was there as it was", arguments: [false, true])
  func damaged(isExternal: Bool) throws {
    let store = try CommandStore()
    let hash = try store.putInline(content)
    if isExternal {
      try store.succeed("offload", "--min-bytes", "0")
      try Data("SOME CONTENT\n".utf8).write(to: store.file(hash))
    } else {
      try store.database.connection.execute("UPDATE jam_preimages SET data = 'SOME CONTENT\n'")
    }
    let folder = try TemporaryFolder()
    let file = try folder.write("was-there", "before")
    for path in [file, "\(folder.path)/new"] {
      let result = try store.run("blob", "get", hash, "--output", path)
      #expect(result.status == 1 && result.error.contains("is damaged"))
    }
    #expect(try folder.names() == ["was-there"] && String(contentsOfFile: file, encoding: .utf8) == "before")
    #expect(try store.run("blob", "get", hash).status == 1)
  }

  @Test("A file that grows no further, and one that is none: exit 1, nothing is left")
  func fullDisk() throws {
    let store = try CommandStore()
    let hash = try store.putInline(Data(count: 3_000_000))
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/copy"
    let full = try store.run("blob", "get", hash, "-o", path, shell: "trap '' XFSZ; ulimit -f 2000")
    #expect(full.status == 1 && full.error.contains("\(path) cannot be written: File too large"))
    #expect(try folder.names() == [])
    let device = try store.run("blob", "get", hash, "-o", "/dev/full")
    #expect(device.status == 1 && device.error.contains("/dev/full cannot be written: it is no regular file"))
  }

  @Test(
    "A disk that is full: exit 1, nothing is left, and a file that was there is as before",
    .enabled(if: SmallFileSystem.isPossible, "only root can mount a small file system")
  )
  func realFullDisk() throws {
    let store = try CommandStore()
    let small = try store.putInline(Data(count: 1000))
    let inline = try store.putInline(Data(count: 3_000_000))
    let external = try store.putInline(Data(repeating: 1, count: 3_000_000))
    try store.succeed("offload", "--min-bytes", "2000000", "--limit", "1")
    let disk = try SmallFileSystem(bytes: 1 << 20)
    let path = "\(disk.path)/copy"
    try store.succeed("blob", "get", small, "-o", path)
    for hash in [inline, external] {
      for file in [path, "\(disk.path)/new"] {
        let full = try store.run("blob", "get", hash, "-o", file)
        #expect(full.status == 1 && full.error.contains("\(file) cannot be written: No space left on device"))
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path) == ["copy"])
    }
    #expect(try Data(contentsOf: URL(filePath: path)) == Data(count: 1000))
  }
}
