import ArgumentParser
import RetentionRunner

struct Repair: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Correct every count that is wrong.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let session = try options.session(.changes)
    let corrected = try session.database().repair()
    session.format.show("corrected \(corrected.counting("count"))", json: [("corrected", .number("\(corrected)"))])
  }
}
