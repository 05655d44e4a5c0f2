import EmbeddedPostgres
import Foundation
import RetentionRunner

/// The load generator, a process of its own.
struct PgBench {
  enum Amount {
    case seconds(Int)
    /// Of all clients together.
    case transactions(Int)
  }

  struct Result {
    var transactionsPerSecond: Double
    /// In milliseconds, the fastest first.
    var latencies: [Double]

    /// The latency that a share of all transactions does not exceed.
    func percentile(_ share: Double) -> Double {
      latencies.isEmpty ? .nan : latencies[min(Int(Double(latencies.count) * share), latencies.count - 1)]
    }
  }

  let program: String
  let target: String
  let folder: String

  func run(_ script: String, clients: Int, for amount: Amount) throws -> Result {
    let name = "\(folder)/\(UUID().uuidString)"
    try Data(script.utf8).write(to: URL(filePath: "\(name).sql"))
    let limit =
      switch amount {
      case .seconds(let seconds): ["--time=\(seconds)"]
      case .transactions(let count): ["--transactions=\((count + clients - 1) / clients)"]
      }
    let threads = min(clients, ProcessInfo.processInfo.processorCount)
    let command =
      [program, "--no-vacuum", "--file=\(name).sql", "--client=\(clients)", "--jobs=\(threads)"] + limit
      + ["--log", "--log-prefix=\(name)", target]
    let (status, output, error) = try ChildProcess.run(command, directory: folder)
    guard status == 0, let line = output.split(separator: "\n").first(where: { $0.hasPrefix("tps = ") }),
      let rate = Double(line.dropFirst(6).prefix { $0 != " " })
    else { throw RunnerError("pgbench failed with status \(status): \(error)") }
    return Result(transactionsPerSecond: rate, latencies: try latencies(of: name))
  }

  /// From the logs, a line for each transaction; the third field is its time in microseconds.
  private func latencies(of name: String) throws -> [Double] {
    let prefix = URL(filePath: name).lastPathComponent
    var result: [Double] = []
    for file in try FileManager.default.contentsOfDirectory(atPath: folder) where file.hasPrefix("\(prefix).") {
      let path = "\(folder)/\(file)"
      defer { try? FileManager.default.removeItem(atPath: path) }
      guard !file.hasSuffix(".sql") else { continue }
      for line in try String(contentsOfFile: path, encoding: .utf8).utf8.split(separator: UInt8(ascii: "\n")) {
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 3)
        if fields.count > 2, let time = Double(String(decoding: fields[2], as: UTF8.self)) {
          result.append(time / 1000)
        }
      }
    }
    return result.sorted()
  }
}
