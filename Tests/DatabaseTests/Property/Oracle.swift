/// What the tables must hold, kept in memory: the committed rows, and what each open transaction adds to them.
struct Oracle {
  struct Report {
    var hashes: [Int]
    var age: Int
  }

  struct Package {
    var hashes: [Int]
    var items: [[Int]] = []
    var reports: [Report] = []
    var age: Int

    var references: [Int] { hashes + items.joined() + reports.flatMap(\.hashes) }
  }

  struct Blob {
    enum Freshness {
      /// Put once; its age tells.
      case original
      /// Put again or touched: it counts as put now.
      case fresh
      /// A former blob of the same hash was fresh, and the ledger may not have been folded since: either may be.
      case unknown
    }

    var age: Int
    var freshness = Freshness.original
  }

  /// One change of the rows, as a transaction has made it. It says only what has changed: a cleanup may delete a report
  /// of a package while another transaction adds an item to it.
  enum Change {
    case newPackage(Int, Package)
    case packageHashes(Int, [Int])
    case item(Int, [Int])
    case report(Int, Report)
    case packageGone(Int)
    case newBlob(Int, Blob)
    case freshBlob(Int)
    case blobGone(Int)
    case code(Int?)
  }

  struct Rows {
    var packages: [Int: Package] = [:]
    var blobs: [Int: Blob] = [:]
    var code: Int?

    mutating func apply(_ change: Change) {
      switch change {
      case .newPackage(let id, let package): packages[id] = package
      case .packageHashes(let id, let hashes): packages[id]?.hashes = hashes
      case .item(let id, let hashes): packages[id]?.items.append(hashes)
      case .report(let id, let report): packages[id]?.reports.append(report)
      case .packageGone(let id): packages[id] = nil
      case .newBlob(let hash, let blob): blobs[hash] = blob
      case .freshBlob(let hash): blobs[hash]?.freshness = .fresh
      case .blobGone(let hash): blobs[hash] = nil
      case .code(let hash): code = hash
      }
    }

    /// How many references each hash has; hashes without any are left out.
    var references: [Int: Int] {
      let all = packages.values.flatMap(\.references) + [code].compactMap { $0 }
      return Dictionary(all.map { ($0, 1) }, uniquingKeysWith: +)
    }

    /// The rows after a cleanup that nobody is in the way of. Blobs whose freshness is unknown are left in.
    func cleaned(window: Int) -> Rows {
      var result = self
      for (id, package) in packages {
        result.packages[id]?.reports.removeAll { $0.age > window }
        if package.age > window, result.packages[id]?.reports.isEmpty == true { result.packages[id] = nil }
      }
      let references = result.references
      for (hash, blob) in blobs where references[hash] == nil && blob.age > window && blob.freshness == .original {
        result.blobs[hash] = nil
      }
      return result
    }
  }

  struct Transaction {
    var level: Operation.Level
    var changes: [Change] = []
    var savepoint: Int?
    /// Rows on which another session would wait for this transaction.
    var heldPackages: Set<Int> = []
    var heldBlobs: Set<Int> = []
    var holdsCode = false
    /// A fold inside a transaction keeps every blob that it has counted.
    var hasFolded = false
    /// Packages that this transaction has made.
    var own: Set<Int> = []
    /// Hashes that it refers to or has put: no deletion may take them before it ends.
    var named: Set<Int> = []
  }

  var committed = Rows()
  var transactions: [Int: Transaction] = [:]
  private(set) var lastPackage = 0

  mutating func newPackage() -> Int {
    lastPackage += 1
    return lastPackage
  }

  /// What a session sees: at READ COMMITTED what is committed, and its own changes.
  func visible(to session: Int) -> Rows {
    var rows = committed
    for change in transactions[session]?.changes ?? [] { rows.apply(change) }
    return rows
  }

  func others(than session: Int) -> [Transaction] {
    transactions.filter { $0.key != session }.map(\.value)
  }

  /// Records a change, at once where the session has no transaction open.
  mutating func record(_ change: Change, by session: Int) {
    if transactions[session] == nil {
      committed.apply(change)
    } else {
      transactions[session]?.changes.append(change)
    }
  }

  mutating func end(_ session: Int, commit: Bool) {
    let ended = transactions.removeValue(forKey: session)
    guard commit else { return }
    for change in ended?.changes ?? [] { committed.apply(change) }
  }
}
