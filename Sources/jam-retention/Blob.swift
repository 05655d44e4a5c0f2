import ArgumentParser

struct Blob: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Put, get and look up single blobs, wherever their content is; make the directory of a store.",
    subcommands: [BlobPut.self, BlobGet.self, BlobHead.self, BlobInit.self]
  )
}
