import ArgumentParser
import MigrationGenerator
import RetentionRunner

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the SQL migrations; only files that differ are touched."
  )

  @OptionGroup var common: CommonOptions
  @OptionGroup var model: ModelOptions

  @Option(help: "The folder to write to.")
  var out = "sql"

  @Flag(help: "Write nothing; exit 3 when files differ from what the model yields.")
  var check = false

  func run() throws {
    let configuration = try RetentionConfiguration(flags: model.flags, file: common.config)
    let files = GeneratedFiles(folder: out, files: MigrationGenerator.files(for: try configuration.model()))
    let differences = check ? files.differences() : try files.write()
    for difference in differences {
      let path = "\(out)/\(difference.path)"
      let state = check ? difference.kind.rawValue : difference.kind == .stale ? "removed" : "wrote"
      common.format.show("\(state) \(path)", json: [("file", .string(path)), ("state", .string(state))])
    }
    if check && !differences.isEmpty { throw ExitCode.findings }
  }
}
