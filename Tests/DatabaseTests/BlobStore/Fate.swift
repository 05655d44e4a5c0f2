/// All that is left to chance in a program, from one seed.
actor Fate {
  private var random: SeededGenerator
  private var late: [UnreliableStore.Late] = []
  private var intervention: (@Sendable () async -> Void)?
  private var depth = 0
  private var isOver = false

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// Sets what may happen in the middle of a request.
  func mayHappen(_ intervention: @escaping @Sendable () async -> Void) { self.intervention = intervention }

  /// Chooses a number. When the program is over, it is the last one, which stands for nothing unusual.
  func number(below count: Int) -> Int { isOver ? count - 1 : Int.random(in: 0..<count, using: &random) }

  /// Lets something else happen, or nothing.
  func intervene() async {
    guard !isOver, depth < 3, number(below: 4) == 0, let intervention else { return }
    depth += 1
    await intervention()
    depth -= 1
  }

  /// Remembers a request that was given up.
  func postpone(_ request: UnreliableStore.Late) { late.append(request) }

  /// One of the requests that were given up; nil: there is none.
  func latecomer() -> UnreliableStore.Late? {
    late.isEmpty ? nil : late.remove(at: number(below: late.count))
  }

  /// From now on nothing fails, and nothing comes between.
  func end() { isOver = true }
}
