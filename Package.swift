// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "jam-retention",
  products: [
    .executable(name: "jam-retention", targets: ["jam-retention"]),
    .library(name: "RetentionModel", targets: ["RetentionModel"]),
    .library(name: "MigrationGenerator", targets: ["MigrationGenerator"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    // The header fields of Hummingbird's requests and answers.
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CXattr"),
    .target(name: "RetentionModel", dependencies: ["SafeSQL", .product(name: "Yams", package: "Yams")]),
    .target(name: "SafeHTML"),
    .target(name: "SafeSQL"),
    .target(name: "Secrets"),
    .target(name: "MigrationGenerator", dependencies: ["RetentionModel", "SafeSQL"]),
    .target(name: "Postgres", dependencies: ["CLibPQ", "SafeSQL", .product(name: "Logging", package: "swift-log")]),
    .target(name: "EmbeddedPostgres", dependencies: ["Postgres", "SafeSQL"]),
    .target(
      name: "ObjectStore",
      dependencies: [
        "CXattr", "Secrets",
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]
    ),
    .target(
      name: "EmbeddedSeaweed",
      dependencies: ["EmbeddedPostgres", "ObjectStore", .product(name: "NIOCore", package: "swift-nio")]
    ),
    .target(name: "EmbeddedMoto", dependencies: ["EmbeddedPostgres", "EmbeddedSeaweed", "ObjectStore"]),
    .target(
      name: "RetentionRunner",
      dependencies: [
        "EmbeddedPostgres", "EmbeddedSeaweed", "MigrationGenerator", "ObjectStore", "Postgres", "RetentionModel",
        "SafeHTML", "SafeSQL",
        "Secrets",
        .product(name: "Configuration", package: "swift-configuration"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Yams", package: "Yams"),
      ]
    ),
    .executableTarget(
      name: "jam-retention",
      dependencies: [
        "RetentionRunner",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      exclude: ["Reference"]
    ),
    .executableTarget(
      name: "Benchmarks",
      dependencies: [
        "EmbeddedPostgres", "MigrationGenerator", "Postgres", "RetentionModel", "RetentionRunner", "SafeSQL",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]
    ),
    .target(name: "TestSupport", dependencies: ["EmbeddedPostgres"], path: "Tests/TestSupport"),
    .testTarget(name: "RetentionModelTests", dependencies: ["RetentionModel"]),
    .testTarget(name: "MigrationGeneratorTests", dependencies: ["MigrationGenerator", "SafeSQL"]),
    .testTarget(name: "PostgresTests", dependencies: ["Postgres", "EmbeddedPostgres"]),
    .testTarget(
      name: "DatabaseTests",
      dependencies: [
        "RetentionRunner", "EmbeddedMoto", "EmbeddedPostgres", "EmbeddedSeaweed", "ObjectStore", "Secrets",
        "TestSupport", "jam-retention",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "Yams", package: "Yams"),
      ]
    ),
    .testTarget(
      name: "ObjectStoreTests",
      dependencies: [
        "EmbeddedMoto", "EmbeddedPostgres", "EmbeddedSeaweed", "ObjectStore", "Secrets", "TestSupport",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
      ]
    ),
    .testTarget(name: "RunnerTests", dependencies: ["RetentionRunner", "EmbeddedPostgres", "SafeHTML", "TestSupport"]),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "EmbeddedPostgres", "EmbeddedSeaweed", "ObjectStore", "TestSupport", "jam-retention",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Yams", package: "Yams"),
      ]
    ),
  ],
  swiftLanguageModes: [.v6]
)
