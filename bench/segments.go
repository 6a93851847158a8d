package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// segments is how many pieces of its log the server has before anything is measured: 2 GB, about what a run writes.
const segments = 128

const (
	emitSQL       = `select pg_logical_emit_message(false, 'bench', 'something to keep')`
	switchSQL     = `select pg_switch_wal()`
	checkpointSQL = `checkpoint`
)

// makeSegments has the server make its log's files. A new server makes each of 16 MB when it is needed, and all writers
// wait for the disk (50 ms seen, once for 10,000 requests); a server that has run for a while uses its old ones again. It is
// that server's times that count.
func makeSegments(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("make the log's files: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for range segments {
		for _, sql := range []string{emitSQL, switchSQL} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("make the log's files: %w", err)
			}
		}
	}
	if _, err := conn.Exec(ctx, checkpointSQL); err != nil {
		return fmt.Errorf("make the log's files: %w", err)
	}
	return nil
}
