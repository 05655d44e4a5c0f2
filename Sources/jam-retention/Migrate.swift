import ArgumentParser
import MigrationGenerator
import RetentionRunner

struct Migrate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Apply the migrations.",
    subcommands: [Up.self, Plan.self, MigrateStatus.self, MigrateVerify.self]
  )

  struct Options: ParsableArguments {
    @OptionGroup var database: DatabaseOptions

    @Option(help: "Apply the reviewed files of this folder instead of what the model yields.")
    var from: String?

    func files(_ session: Session) throws -> [MigrationFile] {
      try from.map { try GeneratedFiles.read(folder: $0) } ?? MigrationGenerator.files(for: session.model)
    }

    func migrator(_ database: RetentionDatabase, _ session: Session) throws -> Migrator {
      try Migrator(
        files: files(session),
        model: session.model,
        connection: database.connection,
        logger: session.logger
      )
    }

    /// Every file with its state.
    func plan(_ session: Session) throws -> [(migration: Migration, state: Migrator.State)] {
      try migrator(session.database(), session).plan()
    }
  }

  /// Keys of the configuration that `migrate up` writes to the policy row.
  struct PolicyOptions: ParsableArguments {
    @Option(help: "Written to the policy row: days that everything is kept.")
    var retentionDays: Int?

    @Flag(inversion: .prefixedNo, help: "Written to the policy row: whether a cleanup that is not told only counts.")
    var retentionDryRun: Bool?

    var flags: [ConfigurationFlag] {
      [
        ConfigurationFlag(.retentionDays, "--retention-days", retentionDays.map { "\($0)" }),
        ConfigurationFlag(
          .isDryRun,
          retentionDryRun == false ? "--no-retention-dry-run" : "--retention-dry-run",
          retentionDryRun.map { "\($0)" }
        ),
      ]
    }
  }

  struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Apply what is pending, and write the retention keys that are set to the policy row."
    )
    @OptionGroup var options: Options
    @OptionGroup var policy: PolicyOptions

    func run() throws {
      let session = try options.database.session(.changes, flags: policy.flags)
      let database = try session.database()
      let applied = try options.migrator(database, session).up()
      for name in applied { session.format.show(migration: name, state: "applied") }
      let changes = try database.applyPolicy(of: session.configuration)
      for change in changes { session.format.show(change) }
      if applied.isEmpty && changes.isEmpty { session.format.remark("nothing to do") }
    }
  }

  struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what migrate up would do.")
    @OptionGroup var options: Options
    @OptionGroup var policy: PolicyOptions

    func run() throws {
      let session = try options.database.session(flags: policy.flags)
      let database = try session.database()
      let pending = try options.migrator(database, session).plan().filter { $0.state != .current }
      for (migration, state) in pending { session.format.show(migration: migration.name, state: state.rawValue) }
      let changes = try database.policyChanges(for: session.configuration)
      for change in changes { session.format.show(change) }
      if pending.isEmpty && changes.isEmpty { session.format.remark("nothing to do") }
    }
  }

  struct MigrateStatus: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show the state of every file.")
    @OptionGroup var options: Options

    func run() throws {
      let session = try options.database.session()
      for (migration, state) in try options.plan(session) {
        session.format.show(migration: migration.name, state: state.rawValue)
      }
    }
  }

  struct MigrateVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "verify",
      abstract: "Exit 3 when files and database do not agree."
    )
    @OptionGroup var options: Options

    func run() throws {
      let session = try options.database.session()
      let differing = try options.plan(session).filter { $0.state != .current }
      for (migration, state) in differing { session.format.show(migration: migration.name, state: state.rawValue) }
      guard differing.isEmpty else { throw ExitCode.findings }
      session.format.remark("files and database agree")
    }
  }
}

extension OutputFormat {
  fileprivate func show(migration name: String, state: String) {
    show(
      "\(state) \(name)",
      json: [("kind", .string("migration")), ("file", .string(name)), ("state", .string(state))]
    )
  }
}
