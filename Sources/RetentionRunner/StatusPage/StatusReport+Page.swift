extension StatusReport {
  /// A column of the policy as text; nil: NULL, or the policy is not known.
  func setting(_ name: String) -> String? { policy.value?.first { $0.name == name }?.value }

  /// `3 h ago`.
  func age(of moment: Moment) -> String {
    let seconds = installation.generatedAt.epoch - moment.epoch
    return seconds < 1 ? "just now" : "\(Figure.duration(seconds)) ago"
  }

  /// The name of a generated object, as SQL spells it.
  func object(_ name: String) -> String { installation.objects.qualified(name).quoted }
}
