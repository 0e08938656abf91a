// Package parking waits for sockets that are silent for long, all of them in one goroutine.
//
// A goroutine that waits for its connection keeps its stack, which has grown to what a request or a handshake needs and never
// shrinks below 4 KiB (a stack shrinks by half at a collection, and only where a quarter of it would do; the runtime counts 800 bytes
// as used to begin with). With thousands of idle connections that is most of what they cost. A connection that is parked has no
// goroutine: an epoll instance of its lot tells of it, and one is made for it then. Waking costs some microseconds, so only who has been silent for
// seconds is parked.
//
// What is waited for is what a read would return at once: bytes, the end, or an error. Deadlines are no matter of a lot: who parks
// looks after them, and wakes whom it has no more patience with.
package parking

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Guest is a connection that may be parked.
type Guest interface {
	// Wake is called in a goroutine of its own, once for each time that the guest was parked.
	Wake()
}

// Place is where a guest stands. It is the guest's own, and its zero value is nowhere.
type Place struct{ seat uint64 } // guarded by Lot.mu; 0: nowhere

// Lot is where connections are parked. The zero value is ready. While it is empty it holds nothing of the system's.
type Lot struct {
	mu     sync.Mutex
	guests map[uint64]guest // guarded by mu; by seat
	seats  uint64           // guarded by mu: given out so far; none is given twice
	file   *os.File         // guarded by mu: the epoll instance; nil while there are no guests
	fd     int              // guarded by mu: of file
}

type guest struct {
	Guest
	place *Place
}

var errParked = errors.New("parking: parked already")

// Park has g woken once the socket says something, even if it has already. Nobody may read the socket until then. Where it fails,
// as for a socket that is closed, g is not parked and will not be woken.
func (l *Lot) Park(socket syscall.RawConn, p *Place, g Guest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.seat != 0 {
		return errParked
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	l.seats++
	var failure error
	err := socket.Control(func(fd uintptr) { failure = watch(l.fd, int(fd), l.seats) })
	if err = errors.Join(err, failure); err != nil {
		l.closeEmpty()
		return err
	}
	p.seat = l.seats
	l.guests[p.seat] = guest{g, p}
	return nil
}

// Wake wakes who stands at p, if anybody does. Closing the socket of somebody parked must be followed by it: the kernel does not tell
// of sockets that are closed.
func (l *Lot) Wake(p *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.seat == 0 {
		return
	}
	if g, ok := l.rise(p.seat); ok {
		go g.Wake()
	}
}

// Leave takes away who stands at p, if anybody does, without waking them. Who is being woken already is woken all the same.
func (l *Lot) Leave(p *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.seat != 0 {
		l.rise(p.seat)
	}
}

// Guests counts who is parked.
func (l *Lot) Guests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.guests)
}

// rise empties a seat. mu is held.
func (l *Lot) rise(seat uint64) (guest, bool) {
	g, ok := l.guests[seat]
	if ok {
		delete(l.guests, seat)
		g.place.seat = 0
		l.closeEmpty()
	}
	return g, ok
}

// open makes the epoll instance and the goroutine that listens to it. mu is held.
func (l *Lot) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that package os waits for it by the runtime's own epoll
		_ = unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "parking")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return err
	}
	l.file, l.fd, l.guests = file, fd, map[uint64]guest{}
	go l.listen(raw)
	return nil
}

// closeEmpty gives back what an empty lot does not need, and ends its goroutine. mu is held.
func (l *Lot) closeEmpty() {
	if len(l.guests) == 0 && l.file != nil {
		_ = l.file.Close()
		l.file, l.guests = nil, nil
	}
}

// atOnce is of how many sockets the kernel tells at a time.
const atOnce = 64

// listen wakes who is spoken to, until the file is closed.
func (l *Lot) listen(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, atOnce)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			for n, err = unix.EpollWait(int(fd), events, 0); err == unix.EINTR; {
				n, err = unix.EpollWait(int(fd), events, 0)
			}
			return n > 0 || err != nil
		})
		if err != nil || n < 0 {
			return
		}
		for i := range events[:n] {
			l.mu.Lock()
			g, ok := l.rise(seatOf(&events[i])) // who left meanwhile has left
			l.mu.Unlock()
			if ok {
				go g.Wake()
			}
		}
	}
}

// watch asks for one word of a socket, which may have been asked for before. Afterwards the kernel says nothing of it.
func watch(epoll, fd int, seat uint64) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(seat), Pad: int32(seat >> 32)}
	err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event)
	if err == unix.EEXIST {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, fd, &event)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

func seatOf(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 }
