import Foundation

/// How far every figure that has a target is from it: a bar to the right of the line has reached it.
struct Chart {
  private let lines: [Line]

  private static let (left, width, row, top) = (620.0, 420.0, 22.0, 56.0)
  /// The ends of the logarithmic axis: a quarter of the target, and four times as good.
  private static let reach = 4.0

  init(lines: [Line]) {
    self.lines = lines.filter { $0.target != nil && $0.judged.median.isFinite }
  }

  var svg: String {
    let height = Self.top + Double(lines.count) * Self.row + 16
    let ticks = [0.25, 0.5, 1, 2, 4].map { margin in
      """
      <line x1="\(x(margin))" x2="\(x(margin))" y1="\(Self.top - 6)" y2="\(height - 12)" stroke="\(margin == 1 ? "#333" : "#ddd")"/>
      <text x="\(x(margin))" y="\(Self.top - 12)" text-anchor="middle">\(margin == 1 ? "target" : "\(Report.text(margin))×")</text>

      """
    }
    let bars = lines.enumerated().map { position, line in bar(line, y: Self.top + Double(position) * Self.row) }
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Self.left + Self.width + 125) \(height)" font-family="sans-serif" font-size="12">
      <rect width="100%" height="100%" fill="#fff"/>
      <text x="10" y="20" font-size="15">Measured against the targets; to the right of the line: reached</text>
      \(ticks.joined())\(bars.joined())</svg>

      """
  }

  private func bar(_ line: Line, y: Double) -> String {
    guard let target = line.target else { return "" }
    let ends = [line.judged.minimum, line.judged.maximum].map { x(target.margin(of: $0)) }
    let (end, start) = (x(target.margin(of: line.judged.median)), x(1))
    let color = line.isReached == true ? "#2a7f3f" : "#b3261e"
    return """
      <text x="\(Self.left - 10)" y="\(y + 15)" text-anchor="end">\(escaped("\(line.what), \(line.variant.rawValue)"))</text>
      <rect x="\(min(start, end))" y="\(y + 4)" width="\(rounded(abs(end - start)))" height="14" fill="\(color)"/>
      <line x1="\(ends.min() ?? end)" x2="\(ends.max() ?? end)" y1="\(y + 11)" y2="\(y + 11)" stroke="#000"/>
      <text x="\(Self.left + Self.width + 8)" y="\(y + 15)">\(Report.text(line.judged.median)) (\(Report.text(target)))</text>

      """
  }

  private func x(_ margin: Double) -> Double {
    let limited = min(max(margin, 1 / Self.reach), Self.reach)
    return rounded(Self.left + Self.width * (log(limited) / log(Self.reach) + 1) / 2)
  }

  private func rounded(_ length: Double) -> Double { (length * 10).rounded() / 10 }

  private func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
}
