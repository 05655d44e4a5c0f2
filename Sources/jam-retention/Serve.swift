import ArgumentParser
import RetentionRunner

struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run as a service: clean up, fold and sweep when it is time; metrics and health over HTTP.",
    discussion:
      "Of several services one works, the others stand by. SIGTERM and SIGINT end it after the batch that is at work, "
      + "with exit code 0; a second one ends it at once."
  )
  @OptionGroup var migrations: Migrate.Options
  @OptionGroup var store: BlobStoreOptions

  @Option(help: "Where to listen, HOST:PORT; default: 127.0.0.1:9470. Port 0: one that is free.")
  var listen: String?

  func run() throws {
    let session = try migrations.database.session(
      .changes,
      flags: store.flags + [ConfigurationFlag(.listenAddress, "--listen", listen)],
      environment: store.environment
    )
    let service = try RetentionService(
      configuration: session.configuration,
      model: session.model,
      files: migrations.files(session),
      blobStore: session.configuration.blobStore.isEnabled ? session.blobStore() : nil,
      logger: session.logger
    )
    try Interruption.awaiting {
      service.stop(because: $0)
    } _: {
      try await service.run()
    }
  }
}
