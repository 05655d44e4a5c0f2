import ArgumentParser
import Foundation
import ObjectStore
import Postgres
import RetentionModel
import RetentionRunner

/// The command line.
@main
struct JamRetention: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "jam-retention",
    abstract: "Reference-counted retention for content-addressed blobs in PostgreSQL.",
    discussion: "Exit codes: 0 done, 1 failed, 2 usage, 3 findings (dry run found work, drift, differences).",
    subcommands: [
      Generate.self, Migrate.self, Cleanup.self, Undo.self, Verify.self, Repair.self, Policy.self, Status.self,
      DoctorCommand.self,
      Metrics.self, Report.self, Blob.self, Offload.self, Restore.self, Sweep.self, Fsck.self, Serve.self,
      DemoCommand.self,
    ]
  )

  static func main() {
    Interruption.begin()
    do {
      do {
        var command = try parseAsRoot()
        try command.run()
        try StandardOutput.finish()
      } catch {
        // Whatever the error says, it is what the signal has caused.
        if let signal = Interruption.signal { Interruption.end(signal) }
        throw error
      }
    } catch let code as ExitCode {
      Foundation.exit(code.rawValue)
    } catch let error as RunnerError {
      fail("\(error)", isUsage: error.isUsage)
    } catch let error as PostgresError {
      fail("\(error)")
    } catch let error as ObjectStoreError {
      fail("\(error)")
    } catch let errors as ConfigurationErrors {
      fail("the configuration has mistakes, nothing was done:\n\(errors)", isUsage: errors.concernsFlag)
    } catch let errors as ModelErrors {
      fail("the model has mistakes, nothing was done:\n\(errors)")
    } catch {
      switch exitCode(for: error) {
      // Parsing errors end with EX_USAGE (64); the contract of this command says 2.
      case .validationFailure: misuse(fullMessage(for: error), error: message(for: error))
      case .success: exit(withError: error)
      default: fail(message(for: error))
      }
    }
  }

  private static func fail(_ message: String, isUsage: Bool = false) -> Never {
    let text = "jam-retention: \(message)"
    if isUsage { misuse(text, error: message) }
    LastLine.write(text, event: "command failed", .error, ["error": "\(message)"])
    Foundation.exit(1)
  }

  private static func misuse(_ text: String, error: String) -> Never {
    LastLine.write(text, event: "wrong usage", .error, ["error": "\(error)"])
    Foundation.exit(2)
  }
}

extension ExitCode {
  /// A check found something: the fourth of the command's exit codes.
  static let findings = ExitCode(3)
}
