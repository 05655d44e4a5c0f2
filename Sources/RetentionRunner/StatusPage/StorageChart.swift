import SafeHTML

/// The bytes of the storage classes over time, one above the other, as a picture without a script.
///
/// It is drawn twice, because letters in a picture shrink with it: for a wide page and for a narrow one. The style sheet
/// shows one of them.
struct StorageChart {
  /// What was stored at one moment.
  struct Sample: Sendable {
    var at: Double
    /// In the order of the classes, as the blobs are.
    var bytes: [Int]
    var blobs: [Int]
  }

  /// The lowest first.
  let classes: [String]
  let samples: [Sample]

  /// More points than this are no longer seen.
  private static let sampleLimit = 400
  /// The style sheet has as many colours; further classes are drawn as one.
  static let classLimit = 5

  /// - Parameters:
  ///   - history: the oldest first.
  ///   - storage: what is stored now.
  init(history: [StatusReport.StoragePoint], storage: [DatabaseSizes.Storage], now: Moment) {
    let points =
      history
      + storage.map {
        StatusReport.StoragePoint(recordedAt: now, storageClass: $0.storageClass, blobs: $0.rows, bytes: $0.bytes)
      }
    classes = Self.ordered(points)
    var samples: [Sample] = []
    let last = max(0, classes.count - 1)
    let positions = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
    for point in points where point.recordedAt.epoch.isFinite {
      if samples.last?.at != point.recordedAt.epoch {
        samples.append(
          Sample(at: point.recordedAt.epoch, bytes: classes.map { _ in 0 }, blobs: classes.map { _ in 0 })
        )
      }
      let position = positions[point.storageClass] ?? last
      let sample = samples[samples.count - 1]
      samples[samples.count - 1].bytes[position] = Figure.sum([sample.bytes[position], max(0, point.bytes)])
      samples[samples.count - 1].blobs[position] = Figure.sum([sample.blobs[position], max(0, point.blobs)])
    }
    self.samples = samples
  }

  /// Those that have held most come first; what exceeds the limit is the last.
  private static func ordered(_ points: [StatusReport.StoragePoint]) -> [String] {
    var largest: [String: Int] = [:]
    for point in points { largest[point.storageClass] = max(largest[point.storageClass] ?? 0, point.bytes) }
    let names = largest.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    return names.count > classLimit ? names.prefix(classLimit - 1) + ["other classes"] : names
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
    let totals = samples.map { $0.bytes.map(Double.init).reduce(0, +) }
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
    let areas = classes.indices.map { position -> HTML in
      let ceiling = zip(floor, samples).map { $0 + Double($1.bytes[position]) }
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
      \(HTML.joined(grid))\(HTML.joined(areas))\(HTML.joined(marks))</svg>

      """
  }

  /// The picture in words.
  private var summary: String {
    guard let first = samples.first, let last = samples.last else { return "" }
    let changes = classes.indices.map {
      "\(classes[$0]) from \(ByteCount.text(Int64(first.bytes[$0]))) to \(ByteCount.text(Int64(last.bytes[$0])))"
    }
    return "From \(Moment(epoch: first.at).day) to \(Moment(epoch: last.at).day): \(changes.joined(separator: "; "))."
  }

  private func place(_ number: Double) -> String {
    let tenths = Int((number * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths.magnitude % 10)"
  }
}
