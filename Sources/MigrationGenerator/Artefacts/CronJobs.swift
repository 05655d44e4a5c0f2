import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// The jobs, as rows of a query: name, schedule, command, and whether it is about the tables of `pg_cron` itself, beside
  /// which it then runs.
  ///
  /// The jobs of all databases stand in one table whose column cuts names at 63 bytes, so the purpose goes first. A
  /// job replaces another one of its name, so before a place that is cut there is a checksum of all of it.
  private var cronJobs: SQL {
    func name(_ purpose: String) -> SQL {
      let purpose: SQL = "\(literal: names.identifier(purpose).name)"
      return """
        (\(purpose) || CASE WHEN pg_catalog.octet_length(\(purpose) || p.place) > \(Identifier.maximumBytes) THEN p.checksum ELSE '' END || p.place)::name::text
        """
    }
    let forget: SQL = """
      DELETE FROM cron.job_run_details AS d USING cron.job AS j
      WHERE d.jobid = j.jobid AND j.jobname IN (%L, %L, %L) AND coalesce(d.end_time, d.start_time) < now() - interval '14 days'
      """
    let jobNames = [name("cleanup"), name("fold"), name("job_history")]
    return """
      (
        SELECT f.place, ' ' || pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(f.place, 'UTF8')), 'hex'), 8) AS checksum
        FROM pg_catalog.format(': %s.%s', pg_catalog.current_database(), \(literal: names.schema.name)) AS f (place)
      ) AS p
      CROSS JOIN LATERAL (VALUES
        (\(jobNames[0]), '15 3 * * *', \(literal: "CALL \(names.qualified("cleanup").quoted)()"), false),
        (\(jobNames[1]), '* * * * *', \(literal: "SELECT \(names.qualified("fold_references").quoted)()"), false),
        (\(jobNames[2]), '45 3 * * *', pg_catalog.format(\(literal: forget.text),
          \(SQL.joined(jobNames))), true)
      ) AS j (name, schedule, command, is_about_cron)
      """
  }

  /// `optional/pg_cron.sql`: the cleanup and what goes with it as jobs of the extension `pg_cron`.
  func cronSchedule() -> Artefact {
    let body: SQL = """
      DECLARE
        home      text;
        elsewhere text;
        job       record;
      BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_cron') THEN
          SELECT pg_catalog.string_agg(CASE
            WHEN j.is_about_cron THEN pg_catalog.format('SELECT cron.schedule(%L, %L, %L);', j.name, j.schedule, j.command)
            ELSE pg_catalog.format('SELECT cron.schedule_in_database(%L, %L, %L, %L, %L);', j.name, j.schedule, j.command,
              pg_catalog.current_database(), current_user)
          END, E'\\n')
          INTO elsewhere
          FROM \(cronJobs);
          -- Others may not read where it lives.
          IF pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE') THEN
            home := coalesce(pg_catalog.current_setting('cron.database_name', true), '');
          END IF;
          RAISE EXCEPTION 'the extension pg_cron is not in database %', pg_catalog.current_database()
            USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = CASE
                WHEN home = '' THEN 'Add pg_cron to shared_preload_libraries and restart the server.'
                WHEN home = pg_catalog.current_database() THEN 'Have a superuser run: CREATE EXTENSION pg_cron;'
                WHEN home IS NULL THEN pg_catalog.format(E'If cron.database_name names this database, have a superuser run: CREATE EXTENSION pg_cron; if it names another, have a superuser run there:\\n%s', elsewhere)
                ELSE pg_catalog.format(E'It lives in database %I. Have a superuser run there:\\n%s', home, elsewhere)
              END;
        END IF;
        FOR job IN
          -- Who has changed a schedule keeps it.
          SELECT j.name, coalesce(s.schedule, j.schedule) AS schedule, j.command
          FROM \(cronJobs)
          LEFT JOIN cron.job AS s ON s.jobname = j.name AND s.username = current_user
        LOOP
          PERFORM cron.schedule(job.name, job.schedule, job.command);
        END LOOP;
      END
      """
    return Artefact(
      path: "optional/pg_cron.sql",
      kind: .repeatable,
      purpose: [
        "Jobs of the extension pg_cron: the cleanup every night, a fold every minute, and once a day the end of what pg_cron",
        "remembers of them after 14 days. Times are GMT; a job that is there keeps its schedule.",
        "Apply it in the database that cron.database_name names, which has the extension. If the retention is in another one,",
        "apply it there: it changes nothing and says what to run instead.",
        "The jobs run as the role that applies the file. It needs USAGE on schema cron and what \(names.identifier("operator").quoted) may do,",
        "and pg_cron must be able to connect as it (pg_hba.conf, cron.host, .pgpass) or use background workers.",
      ],
      locks: ["none on tables"],
      body: "DO \(body.dollarQuoted());"
    )
  }

  /// `uninstall/pg_cron.sql`: takes the jobs back.
  func cronUnschedule() -> Artefact {
    let body: SQL = """
      DECLARE
        job record;
      BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'pg_cron') THEN
          RAISE NOTICE 'the extension pg_cron is not in database %, nor is any job of it', pg_catalog.current_database()
            USING HINT = (
              SELECT pg_catalog.format('Where it is, run: SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname IN (%s);',
                pg_catalog.string_agg(pg_catalog.quote_literal(j.name), ', '))
              FROM \(cronJobs)
            );
          RETURN;
        END IF;
        FOR job IN SELECT s.jobid FROM cron.job AS s WHERE s.jobname IN (SELECT j.name FROM \(cronJobs)) LOOP
          PERFORM cron.unschedule(job.jobid);
        END LOOP;
      END
      """
    return Artefact(
      path: "uninstall/pg_cron.sql",
      kind: .repeatable,
      purpose: [
        "Unschedules the jobs of optional/pg_cron.sql, in the database that has the extension: those of the role that applies",
        "it, or of every role if that is a superuser. A run that is under way goes on. Apply it before uninstall.sql.",
      ],
      locks: ["none on tables"],
      body: "DO \(body.dollarQuoted());"
    )
  }
}
