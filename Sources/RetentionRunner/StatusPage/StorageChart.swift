import SafeHTML

/// The bytes of the storage classes over time, one above the other, as a picture without a script.
///
/// It is drawn twice, because letters in a picture shrink with it: for a wide page and for a narrow one. The style sheet
/// shows one of them.
struct StorageChart {
  /// What has an area of its own.
  enum Area: Equatable, Sendable {
    case storageClass(String)
    /// Those classes together that have held least.
    case others

    /// For the legend.
    var name: String {
      switch self {
      case .storageClass(let name): name
      case .others: "other classes"
      }
    }
  }

  struct Amount: Equatable, Sendable {
    var bytes = 0
    var blobs = 0

    /// More cannot be counted than an integer holds.
    mutating func add(bytes: Int, blobs: Int) {
      self.bytes = Figure.sum([self.bytes, max(0, bytes)])
      self.blobs = Figure.sum([self.blobs, max(0, blobs)])
    }
  }

  /// What was stored at one moment.
  struct Sample: Sendable {
    var at: Double
    /// In the order of the areas.
    var amounts: [Amount]
  }

  /// The lowest first.
  let areas: [Area]
  let samples: [Sample]
  /// What is stored now in each area; nil: nothing any more.
  let stored: [Amount?]

  /// More points than this are no longer seen.
  private static let sampleLimit = 400
  /// The style sheet has as many colours; further classes are drawn as one.
  static let areaLimit = 5

  /// - Parameters:
  ///   - history: the oldest first.
  ///   - storage: what is stored now.
  init(history: [StatusReport.StoragePoint], storage: [DatabaseSizes.Storage], now: Moment) {
    let points =
      history
      + storage.map {
        StatusReport.StoragePoint(recordedAt: now, storageClass: $0.storageClass, blobs: $0.rows, bytes: $0.bytes)
      }
    let areas = Self.areas(points)
    func position(_ name: String) -> Int { areas.firstIndex(of: .storageClass(name)) ?? areas.count - 1 }
    var samples: [Sample] = []
    for point in points where point.recordedAt.epoch.isFinite {
      if samples.last?.at != point.recordedAt.epoch {
        samples.append(Sample(at: point.recordedAt.epoch, amounts: areas.map { _ in Amount() }))
      }
      samples[samples.count - 1].amounts[position(point.storageClass)].add(bytes: point.bytes, blobs: point.blobs)
    }
    var stored: [Amount?] = areas.map { _ in nil }
    for one in storage {
      var amount = stored[position(one.storageClass)] ?? Amount()
      amount.add(bytes: one.bytes, blobs: one.rows)
      stored[position(one.storageClass)] = amount
    }
    (self.areas, self.samples, self.stored) = (areas, samples, stored)
  }

  /// Those that have held most come first; what exceeds the limit is the last.
  private static func areas(_ points: [StatusReport.StoragePoint]) -> [Area] {
    var largest: [String: Int] = [:]
    for point in points { largest[point.storageClass] = max(largest[point.storageClass] ?? 0, point.bytes) }
    let areas = largest.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { Area.storageClass($0.key) }
    return areas.count > areaLimit ? areas.prefix(areaLimit - 1) + [.others] : areas
  }

  /// The last of each stretch, and the first of all.
  func thinned(to limit: Int) -> [Sample] {
    guard samples.count > limit else { return samples }
    let stride = (samples.count + limit - 1) / limit
    return samples.enumerated().filter { position, _ in
      position == 0 || (samples.count - 1 - position) % stride == 0
    }.map(\.element)
  }

  /// Both pictures; nothing where there is no history to draw.
  var html: HTML {
    guard samples.count > 1 else { return "" }
    return """
      \(drawing(Size(width: 860, height: 280, name: "wide", marks: 8)))\
      \(drawing(Size(width: 360, height: 240, name: "narrow", marks: 4)))
      """
  }

  private struct Size {
    var width: Double
    var height: Double
    var name: String
    var marks: Int
    let left = 62.0
    let right = 14.0
    let top = 12.0
    let bottom = 28.0
  }

  private func drawing(_ size: Size) -> HTML {
    let samples = thinned(to: Self.sampleLimit)
    let totals = samples.map { $0.amounts.reduce(0) { $0 + Double($1.bytes) } }
    let values = ChartAxis.bytes(upTo: totals.max() ?? 0)
    let top = values.ticks.last?.value ?? 1
    let end = samples[samples.count - 1].at
    let start = min(samples[0].at, end - 3600)
    let times = ChartAxis.time(from: start, to: end, marks: size.marks)
    func x(_ at: Double) -> Double {
      size.left + (at - start) / (end - start) * (size.width - size.left - size.right)
    }
    func y(_ value: Double) -> Double {
      size.height - size.bottom - value / top * (size.height - size.top - size.bottom)
    }
    let grid = values.ticks.map { tick -> HTML in
      """
      <line class="\(tick.value == 0 ? "axis" : "grid")" x1="\(place(size.left))" x2="\(place(size.width - size.right))" \
      y1="\(place(y(tick.value)))" y2="\(place(y(tick.value)))"/>\
      <text x="\(place(size.left - 8))" y="\(place(y(tick.value) + 4))" text-anchor="end">\(tick.label)</text>

      """
    }
    let marks = times.ticks.map { tick -> HTML in
      let at = x(tick.value)
      let anchor = at < size.left + 24 ? "start" : at > size.width - size.right - 24 ? "end" : "middle"
      return """
        <line class="axis" x1="\(place(at))" x2="\(place(at))" y1="\(place(y(0)))" y2="\(place(y(0) + 4))"/>\
        <text x="\(place(at))" y="\(place(size.height - 8))" text-anchor="\(anchor)">\(tick.label)</text>

        """
    }
    var floor = samples.map { _ in 0.0 }
    let shapes = areas.indices.map { position -> HTML in
      let ceiling = zip(floor, samples).map { $0 + Double($1.amounts[position].bytes) }
      let line = zip(samples, ceiling).map { "\(place(x($0.at))),\(place(y($1)))" }
      let back = zip(samples, floor).reversed().map { "\(place(x($0.at))),\(place(y($1)))" }
      floor = ceiling
      return """
        <polygon class="area c\(position)" points="\((line + back).joined(separator: " "))"/>\
        <polyline class="line c\(position)" points="\(line.joined(separator: " "))"/>

        """
    }
    return """
      <svg class="chart \(size.name)" viewBox="0 0 \(place(size.width)) \(place(size.height))" role="img" \
      aria-labelledby="chart-\(size.name)-title chart-\(size.name)-text">
      <title id="chart-\(size.name)-title">Stored bytes by storage class over time</title>
      <desc id="chart-\(size.name)-text">\(summary)</desc>
      \(HTML.joined(grid))\(HTML.joined(shapes))\(HTML.joined(marks))</svg>

      """
  }

  /// The picture in words.
  private var summary: String {
    guard let first = samples.first, let last = samples.last else { return "" }
    let changes = areas.indices.map { position in
      let (then, now) = (first.amounts[position].bytes, last.amounts[position].bytes)
      return "\(areas[position].name) from \(ByteCount.text(Int64(then))) to \(ByteCount.text(Int64(now)))"
    }
    return "From \(Moment(epoch: first.at).day) to \(Moment(epoch: last.at).day): \(changes.joined(separator: "; "))."
  }

  private func place(_ number: Double) -> String {
    let tenths = Int((number * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths.magnitude % 10)"
  }
}
