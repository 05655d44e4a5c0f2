import Foundation
import Testing

/// Runs the specs of `Tests/Isolation`; its README tells how to read, add and accept them.
@Suite struct IsolationTests {
  private static let accepts = ProcessInfo.processInfo.environment["ACCEPT_ISOLATION"] == "1"

  private static let lawHolds = """
    step law: SELECT * FROM jam_verify_refcounts();
    hash|expected|counted
    ----+--------+-------
    (0 rows)

    """

  @Test("Sessions that meet on a blob", arguments: IsolationSpec.all)
  func spec(_ spec: IsolationSpec) throws {
    if Self.accepts {
      try spec.accepted().forEach(FileManager.default.removeItem)
    }
    for run in try spec.runs() {
      let output = try IsolationTester.output(of: spec, run)
      let circumstances = "\(spec.name), \(run.mode.rawValue), \(run.level.rawValue)"

      // Nobody accepts by mistake what breaks the law: every permutation ends with a look at it.
      let permutations = output.split(separator: "\nstarting permutation: ").dropFirst()
      #expect(!permutations.isEmpty, "\(circumstances): \(output)")
      for permutation in permutations {
        let steps = permutation.prefix { $0 != "\n" }
        let keepsLaw = permutation.trimmingCharacters(in: .newlines).appending("\n").hasSuffix(Self.lawHolds)
        #expect(keepsLaw, "\(circumstances): the law does not hold at the end of \(steps)\n\(permutation)")
      }

      var expected = spec.expected(for: run)
      if Self.accepts, let variant = run.variants.first, try expected.map({ try read($0) }) != output {
        expected = spec.expected(variant)
        try expected.map { try Data(output.utf8).write(to: $0) }
      }
      let file = try #require(expected, "\(circumstances) has no expected output; make accept-isolation writes it")
      let difference = try IsolationTester.difference(from: file, to: output)
      #expect(difference.isEmpty, "\(circumstances):\n\(difference)")
    }
  }

  @Test("Every expected output belongs to a spec")
  func noLeftovers() {
    let accepted = Set(IsolationSpec.all.flatMap { $0.accepted() }.map(\.lastPathComponent))
    #expect(!accepted.isEmpty)
    #expect(IsolationSpec.files(in: IsolationSpec.expectedFolder).filter { !accepted.contains($0) } == [])
  }

  private func read(_ file: URL) throws -> String { try String(contentsOf: file, encoding: .utf8) }
}
