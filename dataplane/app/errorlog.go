package app

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/keepgate/keepgate/shared/telemetry"
)

// logFile is a file that lines are appended to, and that is opened anew after it was moved away.
type logFile struct {
	path string

	mu   sync.Mutex
	file *os.File // guarded by mu
}

func openLogFile(path string) (*logFile, error) {
	l := &logFile{path: path}
	return l, l.Reopen()
}

// Reopen opens the file anew.
func (l *logFile) Reopen() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file = file
	if old != nil {
		return old.Close()
	}
	return nil
}

func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(line)
}

// errorLog is where reasons of failed requests go; nil means nowhere.
func (p *plane) errorLog(f *front) (*slog.Logger, error) {
	if p.settings.Proxy.ErrorLog == "off" {
		return slog.New(slog.DiscardHandler), nil
	}
	file, err := openLogFile(p.settings.Proxy.ErrorLog)
	if err != nil {
		return nil, fmt.Errorf("proxy_error_log: %w", err)
	}
	f.errors = file
	return telemetry.NewLogger(io.Writer(file), telemetry.Options{Level: slog.LevelInfo, JSON: p.settings.Process.LogFormat == "json"}), nil
}
