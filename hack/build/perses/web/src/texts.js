// The texts of the viewer itself. Those of the packages of Perses and of the dashboards are English.
import { createContext, useContext } from 'react';

const TEXTS = {
  en: {
    home: 'Home',
    explore: 'Explore',
    alerts: 'Alerts',
    loginHelp: 'Paste a token of the cluster. This command prints one:',
    token: 'Token',
    logIn: 'Log in',
    logOut: 'Log out',
    rejected: 'The cluster does not accept this token. It may have expired.',
    denied: 'This token is valid, but its account may not read the monitoring of this cluster.',
    unavailable: 'The server is not available. Try again.',
    language: 'Français',
    dark: 'Dark colors',
    light: 'Light colors',
    fullScreen: 'Full screen',
    menu: 'Menu',
    noAlerts: 'No alerts are firing.',
    notFound: 'There is no dashboard of this name.',
    firing: 'Firing',
    pending: 'Pending',
    silenced: 'Silenced',
    all: 'All',
    alert: 'Alert',
    severity: 'Severity',
    state: 'State',
    since: 'Since',
    summary: 'Summary',
    labels: 'Labels',
    runbook: 'Runbook',
    search: 'Search',
    nothing: 'No alert matches.',
    silencedBy: 'Silence',
    seeAlerts: 'Show alerts',
    count: (n, severity) => `${n} ${severity}`,
    noData: 'No data',
    onlyNamespaces: (names) => `Limited to ${names}`,
  },
  fr: {
    home: 'Accueil',
    explore: 'Explorer',
    alerts: 'Alertes',
    loginHelp: 'Collez un jeton du cluster. Cette commande en affiche un\u00a0:',
    token: 'Jeton',
    logIn: 'Se connecter',
    logOut: 'Se déconnecter',
    rejected: 'Le cluster refuse ce jeton. Il a peut-être expiré.',
    denied: 'Ce jeton est valide, mais son compte n’a pas le droit de lire la supervision de ce cluster.',
    unavailable: 'Le serveur ne répond pas. Réessayez.',
    language: 'English',
    dark: 'Couleurs sombres',
    light: 'Couleurs claires',
    fullScreen: 'Plein écran',
    menu: 'Menu',
    noAlerts: 'Aucune alerte n’est active.',
    notFound: 'Aucun tableau de bord ne porte ce nom.',
    firing: 'Actives',
    pending: 'En attente',
    silenced: 'Mises en silence',
    all: 'Toutes',
    alert: 'Alerte',
    severity: 'Gravité',
    state: 'État',
    since: 'Depuis',
    summary: 'Résumé',
    labels: 'Étiquettes',
    runbook: 'Procédure',
    search: 'Rechercher',
    nothing: 'Aucune alerte ne correspond.',
    silencedBy: 'Silence',
    seeAlerts: 'Voir les alertes',
    count: (n, severity) => `${n} ${severity}`,
    noData: 'Aucune donnée',
    onlyNamespaces: (names) => `Limité à ${names}`,
  },
};

const SAVED = 'language';

export function initialLanguage() {
  const wanted = localStorage.getItem(SAVED) ?? navigator.language.slice(0, 2);
  return wanted in TEXTS ? wanted : 'en';
}

export function saveLanguage(language) {
  localStorage.setItem(SAVED, language);
}

export const Language = createContext('en');

export function useTexts() {
  return TEXTS[useContext(Language)];
}
