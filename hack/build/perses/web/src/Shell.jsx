import { AppBar, Box, Button, Chip, Drawer, IconButton, List, ListItemButton, ListItemText, ListSubheader, Toolbar, Tooltip, useMediaQuery, useTheme } from '@mui/material';
import Fullscreen from 'mdi-material-ui/Fullscreen';
import Logout from 'mdi-material-ui/Logout';
import MenuIcon from 'mdi-material-ui/Menu';
import ThemeIcon from 'mdi-material-ui/ThemeLightDark';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { Link, useLocation } from 'react-router-dom';

import { dashboards, logout, session } from './api.js';
import { useTexts } from './texts.js';

const WIDTH = 250;
const KEPT = ['start', 'end', 'refresh', 'var-cluster'];

export function Shell({ language, setLanguage, dark, setDark, rights, children }) {
  const texts = useTexts();
  const wide = useMediaQuery(useTheme().breakpoints.up('lg'));
  const { pathname, search } = useLocation();
  const [open, setOpen] = useState(false);
  const main = useRef(null);
  const { data: folders = [] } = useQuery(['dashboards'], dashboards, { staleTime: Infinity });
  const shown = wide || open;

  const now = new URLSearchParams(search);
  const kept = new URLSearchParams(KEPT.filter((name) => now.has(name)).map((name) => [name, now.get(name)])).toString();
  const to = (path) => ({ pathname: path, search: kept });

  useEffect(() => {
    setOpen(false);
    main.current?.scrollTo(0, 0);
    const current = folders.flatMap((folder) => folder.dashboards).find(({ name }) => pathname === `/d/${name}`);
    const title = { '/': texts.home, '/explore': texts.explore, '/alerts': texts.alerts }[pathname] ?? current?.title;
    document.title = title ? `${title} – MaaS` : 'MaaS';
  }, [pathname, folders, texts]);

  const item = (path, text) => (
    <ListItemButton key={path} component={Link} to={to(path)} selected={pathname === path} dense>
      <ListItemText primary={text} />
    </ListItemButton>
  );

  return (
    <Box sx={{ display: 'flex', flexDirection: 'column', height: '100vh' }}>
      <AppBar position="static" color="default" elevation={1}>
        <Toolbar variant="dense" sx={{ gap: 1 }}>
          {!wide && (
            <IconButton aria-label={texts.menu} onClick={() => setOpen(!open)}>
              <MenuIcon />
            </IconButton>
          )}
          <Button component={Link} to={to('/')} color="inherit" sx={{ fontWeight: 'bold', fontSize: 18 }}>
            MaaS
          </Button>
          {rights.namespaces && <Chip size="small" label={texts.onlyNamespaces(rights.namespaces.join(', '))} />}
          <Box sx={{ flexGrow: 1 }} />
          <Button color="inherit" onClick={() => setLanguage(language === 'fr' ? 'en' : 'fr')}>
            {texts.language}
          </Button>
          <Tooltip title={dark ? texts.light : texts.dark}>
            <IconButton aria-label={dark ? texts.light : texts.dark} onClick={() => setDark(!dark)}>
              <ThemeIcon />
            </IconButton>
          </Tooltip>
          <Tooltip title={texts.fullScreen}>
            <IconButton aria-label={texts.fullScreen} onClick={() => main.current.requestFullscreen()}>
              <Fullscreen />
            </IconButton>
          </Tooltip>
          <Tooltip title={`${texts.logOut} (${rights.user})`}>
            <IconButton
              aria-label={texts.logOut}
              onClick={() => logout().finally(() => session.dispatchEvent(new Event('ended')))}
            >
              <Logout />
            </IconButton>
          </Tooltip>
        </Toolbar>
      </AppBar>
      <Box sx={{ display: 'flex', flexGrow: 1, minHeight: 0 }}>
        <Drawer
          variant={wide ? 'permanent' : 'temporary'}
          open={shown}
          onClose={() => setOpen(false)}
          sx={{ width: wide ? WIDTH : 0, '& .MuiDrawer-paper': { width: WIDTH, position: wide ? 'static' : 'fixed' } }}
        >
          <List component="nav" dense>
            {item('/', texts.home)}
            {item('/explore', texts.explore)}
            {item('/alerts', texts.alerts)}
            {folders.map((folder) => [
              <ListSubheader key={folder.name} disableSticky sx={{ lineHeight: '36px' }}>
                {folder.title}
              </ListSubheader>,
              ...folder.dashboards.map(({ name, title }) => item(`/d/${name}`, title)),
            ])}
          </List>
        </Drawer>
        <Box component="main" ref={main} sx={{ flexGrow: 1, minWidth: 0, overflow: 'auto', bgcolor: 'background.default' }}>
          {children}
        </Box>
      </Box>
    </Box>
  );
}
