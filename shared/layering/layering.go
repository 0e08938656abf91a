// Package layering holds the plan of the house, and its test holds the house to the plan.
//
// The plan is the table in table.go: which package may import which of ours. Beside it stand the rules that
// every file keeps: where ciphers and database drivers may be used, that every package says its duty, that
// nothing runs at import. The test parses the sources and builds nothing, so it also sees files that are
// not compiled here.
package layering

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the prefix of our own imports.
const module = "github.com/keepgate/keepgate/"

// source is one Go file.
type source struct {
	path      string
	test      bool
	generated bool
	lines     int
	syntax    *ast.File
	imports   []string
}

// pack is one folder of Go files.
type pack struct {
	path    string // from the module's root
	sources []source
}

// load parses all Go files below a module's root, which is where go.mod lies.
func load(root fs.FS) (map[string]*pack, error) {
	packs := map[string]*pack{}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		file, err := parse(root, name)
		if err != nil {
			return err
		}
		folder := path.Dir(name)
		if packs[folder] == nil {
			packs[folder] = &pack{path: folder}
		}
		packs[folder].sources = append(packs[folder].sources, file)
		return nil
	})
	return packs, err
}

func parse(root fs.FS, name string) (source, error) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return source{}, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, fmt.Errorf("parsing: %w", err)
	}
	file := source{
		path: name, test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(syntax),
		lines: strings.Count(string(data), "\n"), syntax: syntax,
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, fmt.Errorf("%s: %w", name, err)
		}
		file.imports = append(file.imports, imported)
	}
	return file, nil
}

// imports lists what a package imports outside its tests, each once.
func (p *pack) imports() (imported []string) {
	for _, file := range p.sources {
		if !file.test {
			imported = append(imported, file.imports...)
		}
	}
	slices.Sort(imported)
	return slices.Compact(imported)
}

// onlyTests reports whether the folder holds nothing that a binary could link.
func (p *pack) onlyTests() bool {
	return !slices.ContainsFunc(p.sources, func(file source) bool { return !file.test })
}

// within reports whether a package path matches a pattern: itself, "x/*" for one level below x, "x/..." for
// x and all below it.
func within(name, pattern string) bool {
	if base, found := strings.CutSuffix(pattern, "/..."); found {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	if base, found := strings.CutSuffix(pattern, "/*"); found {
		return path.Dir(name) == base
	}
	return name == pattern
}

func withinAny(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return within(name, pattern) })
}
