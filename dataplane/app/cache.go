package app

import (
	"time"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/plugin/proxycache"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/shared/aead"
)

// openCache makes the cache that the plugin proxy-cache keeps responses in. Its disk is not touched before something wants it.
func (p *plane) openCache() error {
	s := p.settings.Cache
	options := cachestore.Options{Memory: int64(s.Memory), Log: p.log, FS: p.disk}
	if p.keys != nil { // a node that was shut out has nothing to seal with, and nothing to keep
		options.Keys = p.keys.Current()
		who := p.belonging.source.Identity()
		options.Disk, options.Folder, options.Suite = int64(s.Disk), s.Folder, aead.AES256GCM
		if mode, err := localstore.ParseMode(p.settings.Store.Encryption); err == nil && mode == localstore.ChaCha20Poly1305 {
			options.Suite = aead.ChaCha20Poly1305
		}
		options.Node, options.Environment = who.Organisation+"/"+who.Environment, who.Environment
	}
	p.cache = cachestore.New(options)
	return nil
}

// eraseCache destroys what is kept of responses, whether this process has opened it or a former one.
func (p *plane) eraseCache() error {
	if p.cache != nil && p.keys != nil {
		return p.cache.Erase()
	}
	return cachestore.Erase(p.settings.Cache.Folder)
}

// caching is how much the node keeps of responses.
func (p *plane) caching() (c status.Cache) {
	c.Memory, c.Disk, c.Misses = p.cache.Usage()
	return c
}

// Cache implements [status.Node].
func (n node) Cache() status.Cache { return n.front.plane.caching() }

// Kept implements [status.Node].
func (n node) Kept(key string) (list []any) {
	for _, one := range proxycache.Look(n.front.plane.cache, key, time.Now().Unix()) {
		list = append(list, one)
	}
	return list
}
