package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooler is what stands between Kontor and PostgreSQL.
type Pooler string

// The poolers. One that gives each client a session of its own (session mode) counts as none.
const (
	PoolerNone        Pooler = "none"
	PoolerTransaction Pooler = "transaction" // each transaction may have another backend: PgBouncer's pool_mode = transaction
)

// poolerParam says in a database URL what Options.Pooler says, for whoever has nothing but the URL.
const poolerParam = "pooler"

// takePooler reads the parameter and takes it away: PostgreSQL does not know it.
func takePooler(cfg *pgx.ConnConfig, told Pooler) (Pooler, error) {
	if value, ok := cfg.RuntimeParams[poolerParam]; ok {
		delete(cfg.RuntimeParams, poolerParam)
		told = Pooler(value)
	}
	switch told {
	case "", PoolerNone:
		return PoolerNone, nil
	case PoolerTransaction:
		return PoolerTransaction, nil
	default:
		return "", fmt.Errorf("there is no pooler %q; want %s or %s", told, PoolerNone, PoolerTransaction)
	}
}

var errPooled = errors.New("a pooler gives each transaction another backend of the database")

// refusePooler says what to do about a pooler that nobody has told of.
func refusePooler(ctx context.Context, cfg *pgx.ConnConfig) error {
	err := probePooler(ctx, cfg)
	if errors.Is(err, errPooled) {
		return fmt.Errorf("%w: say so with --database-pooler transaction (KONTOR_DATABASE_POOLER), or connect to PostgreSQL itself", err)
	}
	return err
}

// probePooler gives errPooled when each transaction of a connection may have another backend. Two connections tell: a
// session that answers both of them belongs to neither, and a connection whose session changes has none. Asking the first
// twice in a row shows a pooler that hands out its sessions in turns.
func probePooler(ctx context.Context, cfg *pgx.ConnConfig) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	first, err := connectPlainly(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = first.Close(context.WithoutCancel(ctx)) }()
	second, err := connectPlainly(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	pids, err := sessionsOf(ctx, first, second, first, first)
	if err != nil {
		return err
	}
	if pids[0] != pids[2] || pids[0] != pids[3] || pids[0] == pids[1] {
		return errPooled
	}
	return nil
}

func connectPlainly(ctx context.Context, cfg *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return nil, fmt.Errorf("reach the database: %w", withoutURL(err))
	}
	return conn, nil
}

const sessionSQL = `select pg_backend_pid()`

// sessionsOf asks each connection, in this order, which session answers it.
func sessionsOf(ctx context.Context, conns ...*pgx.Conn) ([]uint32, error) {
	pids := make([]uint32, len(conns))
	for i, conn := range conns {
		err := conn.QueryRow(ctx, sessionSQL, pgx.QueryExecModeSimpleProtocol).Scan(&pids[i])
		if err != nil {
			return nil, fmt.Errorf("ask which session answers: %w", err)
		}
	}
	return pids, nil
}
