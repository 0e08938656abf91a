package app

import (
	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/aead"
)

// openCache makes the cache that the plugin proxy-cache keeps responses in. Its disk is not touched before something wants it.
func (p *plane) openCache() error {
	s, source := p.settings.Cache, p.belonging.source
	options := cachestore.Options{Memory: int64(s.Memory), Log: p.log, FS: p.disk}
	if source != nil { // a node that was shut out has nothing to seal with, and nothing to keep
		others, err := p.formerKeys()
		if err != nil {
			return err
		}
		if options.Keys, err = storeKeys(source, others); err != nil {
			return err
		}
		who := source.Identity()
		options.Disk, options.Folder, options.Suite = int64(s.Disk), s.Folder, aead.AES256GCM
		if mode, err := localstore.ParseMode(p.settings.Store.Encryption); err == nil && mode == localstore.ChaCha20Poly1305 {
			options.Suite = aead.ChaCha20Poly1305
		}
		options.Node, options.Environment = who.Organisation+"/"+who.Environment, who.Environment
	}
	p.cache = cachestore.New(options)
	return nil
}

// formerKeys are files of keys that what lies on the disk may be sealed by.
func (p *plane) formerKeys() (files []string, err error) {
	if p.belonging.joined {
		if files, err = p.belonging.folder.OtherKeys(); err != nil {
			return nil, err
		}
	}
	return append(files, previousKeys(p.settings.Cluster)...), nil
}

// eraseCache destroys what is kept of responses, whether this process has opened it or a former one.
func (p *plane) eraseCache() error {
	if p.cache != nil && p.belonging.source != nil {
		return p.cache.Erase()
	}
	return cachestore.Erase(p.settings.Cache.Folder)
}
