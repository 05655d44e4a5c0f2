import EmbeddedPostgres
import Foundation
import NIOCore
import ObjectStore
import Synchronization

/// A throw-away SeaweedFS with an S3 gateway, for tests and demonstrations.
///
/// It listens on free ports of 127.0.0.1 and ends with this process, even if that is killed.
public final class EmbeddedSeaweed: ThrowAwayServer {
  /// A bucket in virtual-hosted style is a subdomain of this.
  public static let domain = "s3.localhost"

  private static let patience: Duration = .seconds(60)
  /// For the case that another process takes a port first.
  private static let starts = 3

  /// Holds everything: the data, the log and the credentials.
  public let directory: String
  /// The port of the S3 gateway.
  public let port: UInt16
  /// The only ones that the store knows.
  public let credentials: S3Credentials

  private let secret = UUID().uuidString
  private let authority: ThrowAwayAuthority?
  private let ports: [UInt16]
  private let server = Mutex<ChildProcess?>(nil)

  /// The URL of the S3 gateway.
  public var endpoint: String { authority == nil ? "http://127.0.0.1:\(port)" : "https://localhost:\(port)" }

  /// The PEM certificate of the authority that the store's own is of; nil: it does not speak TLS.
  public var certificateAuthorityFile: String? { authority?.authorityFile }

  /// Whether a store can speak TLS: it takes `openssl` to make it a certificate.
  public static var canUseTLS: Bool { ThrowAwayAuthority.isPossible }

  private var logFile: String { "\(directory)/log" }

  /// Starts a store and waits until it takes objects.
  ///
  /// - Parameters:
  ///   - program: SeaweedFS's `weed`; by default `JAM_WEED`, else that of `.build/venv`, else the one in `PATH`.
  ///   - usesTLS: whether it speaks TLS, with a certificate of an authority of its own.
  public static func start(program: String? = nil, usesTLS: Bool = false) async throws -> EmbeddedSeaweed {
    let program = try locate(program)
    var attempt = 1
    while true {
      let instance = try EmbeddedSeaweed(usesTLS: usesTLS)
      do {
        try instance.launch(program)
        try await instance.waitUntilReady()
        return instance
      } catch {
        instance.stop()
        if attempt == starts || !(error is EmbeddedSeaweedError) { throw error }
        attempt += 1
      }
    }
  }

  /// The program, if it is installed.
  public static func locate(_ explicit: String? = nil) throws -> String {
    let environment = ProcessInfo.processInfo.environment
    let isExecutable = FileManager.default.isExecutableFile
    if let chosen = explicit ?? environment["JAM_WEED"], !chosen.isEmpty {
      guard isExecutable(chosen) else {
        throw EmbeddedSeaweedError("\(chosen) cannot be executed; let JAM_WEED name SeaweedFS's program weed")
      }
      return chosen
    }
    let folders = [".build/venv/bin"] + (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let current = URL(filePath: FileManager.default.currentDirectoryPath, directoryHint: .isDirectory)
    let candidates = folders.map { URL(filePath: "\($0)/weed", relativeTo: current).path }
    guard let found = candidates.first(where: isExecutable) else {
      throw EmbeddedSeaweedError(
        "SeaweedFS is not installed here; install it (make test-deps) or let JAM_WEED name its program weed"
      )
    }
    return found
  }

  /// Settings for a bucket of this store.
  public func configuration(bucket: String) -> S3Configuration {
    var configuration = S3Configuration(
      endpoint: endpoint,
      bucket: bucket,
      credentials: S3CredentialSource(given: credentials)
    )
    configuration.certificateAuthorityFile = certificateAuthorityFile
    return configuration
  }

  /// Ends the store and removes the directory; again, it does nothing.
  public func stop() {
    server.withLock { server in
      server?.send(SIGKILL)
      _ = server?.wait(until: .distantFuture)
      server = nil
    }
    try? FileManager.default.removeItem(atPath: directory)
    // It makes these in /tmp, whatever it is told.
    for service in ["master", "volume", "filer", "s3"] {
      for port in ports {
        unlink("/tmp/seaweedfs-\(service)-grpc-\(port).sock")
      }
    }
  }

  deinit {
    stop()
  }

  private init(usesTLS: Bool) throws {
    var path = Array("/tmp/jam-weed-XXXXXX".utf8CString)
    guard mkdtemp(&path) != nil else {
      throw EmbeddedSeaweedError("no directory can be made in /tmp: \(String(cString: strerror(errno)))")
    }
    directory = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    ports = try FreePorts.find(8)
    port = ports[6]
    credentials = S3Credentials(accessKeyID: "jam", secretAccessKey: secret)
    authority = usesTLS ? try ThrowAwayAuthority(in: directory) : nil
    RunningServers.add(self)
  }

  private func launch(_ program: String) throws {
    // In a file, because arguments can be seen by everybody.
    let identity = """
      {"identities": [{"name": "jam", "actions": ["Admin"],
        "credentials": [{"accessKey": "\(credentials.accessKeyID)", "secretKey": "\(secret)"}]}]}
      """
    let configuration = "\(directory)/s3.json"
    let log = open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard log >= 0,
      FileManager.default.createFile(
        atPath: configuration,
        contents: Data(identity.utf8),
        attributes: [.posixPermissions: 0o600]
      )
    else { throw EmbeddedSeaweedError("\(directory) cannot be written: \(String(cString: strerror(errno)))") }
    defer { close(log) }
    // Every bucket gets volumes of its own, by default seven at once.
    try Data("[master.volume_growth]\ncopy_1 = 1\n".utf8).write(to: URL(filePath: "\(directory)/master.toml"))
    let data = "\(directory)/data"
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: false)
    var command = [
      // The data are of no use without this process, so that there is nothing to be saved.
      "setpriv", "--pdeathsig", "KILL", program, "-logtostderr", "server", "-dir=\(data)", "-ip=127.0.0.1",
      "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=10000",
      "-master.port=\(ports[0])", "-master.port.grpc=\(ports[1])", "-volume.port=\(ports[2])",
      "-volume.port.grpc=\(ports[3])", "-filer", "-filer.port=\(ports[4])", "-filer.port.grpc=\(ports[5])",
      "-filer.localSocket=\(directory)/filer.sock", "-s3", "-s3.port=\(ports[6])", "-s3.port.grpc=\(ports[7])",
      "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.localSocket=\(directory)/s3.sock",
      "-s3.config=\(configuration)", "-s3.domainName=\(Self.domain)", "-s3.autoCreateBucket=false",
    ]
    if let authority {
      command += ["-s3.cert.file=\(authority.certificateFile)", "-s3.key.file=\(authority.keyFile)"]
    }
    let process = try ChildProcess.start(command, directory: directory, output: log, error: log)
    server.withLock { $0 = process }
  }

  /// Returns when an object can be stored and deleted: the gateway answers before there is a place for objects.
  private func waitUntilReady() async throws {
    var configuration = configuration(bucket: "jam-readiness")
    configuration.retries.attempts = 1
    let client = try S3Client(configuration)
    let deadline = ContinuousClock.now + Self.patience
    while true {
      do {
        try await client.createBucket()
        try await client.put("ready", ObjectContent(ByteBuffer(string: "ready")), contentType: "text/plain")
        return try await client.delete("ready")
      } catch let error as ObjectStoreError {
        let status = server.withLock { $0?.wait(until: .distantPast) }
        if status == nil, ContinuousClock.now < deadline {
          try await Task.sleep(for: .milliseconds(20))
          continue
        }
        let reason = status.map { "ended with status \($0)" } ?? "was not ready after \(Self.patience): \(error)"
        throw EmbeddedSeaweedError("SeaweedFS \(reason); its log ends with:\n\(endOfLog())")
      }
    }
  }

  private func endOfLog() -> String {
    let lines = (try? String(contentsOfFile: logFile, encoding: .utf8))?.split(separator: "\n") ?? []
    return lines.suffix(10).joined(separator: "\n")
  }
}
