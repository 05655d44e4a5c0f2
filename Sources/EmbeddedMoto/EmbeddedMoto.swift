import EmbeddedPostgres
import EmbeddedSeaweed
import Foundation
import ObjectStore

/// A throw-away server of moto, which imitates AWS, for tests.
package final class EmbeddedMoto: ThrowAwayServer {
  package let endpoint: String
  private let server: ChildProcess

  /// `moto_server`: `JAM_MOTO`, else that of `.build/venv`, else the one in `PATH`; nil where it is not installed.
  package static let program: String? = {
    let environment = ProcessInfo.processInfo.environment
    let folders = [".build/venv/bin"] + (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let current = URL(filePath: FileManager.default.currentDirectoryPath, directoryHint: .isDirectory)
    let candidates =
      [environment["JAM_MOTO"]].compactMap { $0 }
      + folders.map { URL(filePath: "\($0)/moto_server", relativeTo: current).path }
    return candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
  }()

  /// Starts a server and waits until it answers.
  package static func start() async throws -> EmbeddedMoto {
    guard let program else {
      throw EmbeddedMotoError("moto is not installed; let JAM_MOTO name its program moto_server")
    }
    let server = try EmbeddedMoto(program)
    var configuration = server.configuration(bucket: "readiness")
    configuration.retries.attempts = 1
    let client = try S3Client(configuration)
    while true {
      do {
        try await client.createBucket()
        return server
      } catch let error as ObjectStoreError where error.kind == .connection {
        if let status = server.server.wait(until: .distantPast) {
          throw EmbeddedMotoError("moto ended with status \(status): \(error)")
        }
        try await Task.sleep(for: .milliseconds(20))
      }
    }
  }

  /// Settings for a bucket of this server, which takes any credentials.
  package func configuration(bucket: String) -> S3Configuration {
    S3Configuration(
      endpoint: endpoint,
      bucket: bucket,
      credentials: S3CredentialSource(given: S3Credentials(accessKeyID: "moto", secretAccessKey: "moto"))
    )
  }

  private init(_ program: String) throws {
    let port = try FreePorts.find(1)[0]
    endpoint = "http://127.0.0.1:\(port)"
    let log = open("/dev/null", O_WRONLY | O_CLOEXEC)
    defer { close(log) }
    let command = ["setpriv", "--pdeathsig", "KILL", program, "-H", "127.0.0.1", "-p", "\(port)"]
    server = try ChildProcess.start(command, directory: "/tmp", output: log, error: log)
    RunningServers.add(self)
  }

  /// Ends the server.
  package func stop() {
    server.send(SIGKILL)
    _ = server.wait(until: .distantFuture)
  }
}
