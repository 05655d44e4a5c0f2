import Foundation

/// The random inputs of a fuzz test, each named by its seed.
///
/// `JAM_FUZZ=n` tries so many instead of a sample; `JAM_SEED=n` replays one input, with `JAM_FUZZ=m` those from n on.
enum FuzzInputs {
  /// - Parameters:
  ///   - sample: how many inputs a plain `make test` tries.
  ///   - size: how many inputs one seed stands for.
  static func seeds(sample: Int, of name: String, each size: Int = 1) -> [UInt64] {
    let environment = ProcessInfo.processInfo.environment
    let inputs = environment["JAM_FUZZ"].flatMap(Int.init)
    let chosen = environment["JAM_SEED"].flatMap(UInt64.init)
    let first = chosen ?? .random(in: 0..<1 << 48)
    let count = ((inputs ?? (chosen == nil ? sample : 1)) + size - 1) / size
    let seeds = (0..<UInt64(count)).map { first + $0 }
    // Before the first input: if one crashes the process, this is all that is left.
    FileHandle.standardOutput.write(Data("fuzz \(name): \(seeds.count * size) inputs from JAM_SEED=\(first)\n".utf8))
    return seeds
  }
}
